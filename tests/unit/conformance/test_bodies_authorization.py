"""What AZ checks collect of a mesh whose policies take effect late, in a time of its own: whatever was asked before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import Rendered, Unsupported, load
from conformance.adapters.kuma import Kuma, KumaSettings
from conformance.checks import authorization as az
from conformance.checks import authorization_ground as ground
from conformance.checks.authorization_invalid import judge_unreadable, unreadable
from conformance.checks.authorization_judges import judge_access
from conformance.checks.mtls_judges import PROTOCOL
from conformance.context import Context, NotInForce
from conformance.intents import Intent, UnreadableAccess
from conformance.model import Judgement
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

PORTS = {protocol: port for port, protocol in PROTOCOL.items()}
LIMIT = 10.0


class _Mesh:
    """Policies of Istio's, each in force some seconds after it was written, by accounts, ports and namespaces."""

    def __init__(
        self, late: float, *, lag: float = 0.0, allow_first: bool = False, drops_unreadable: bool = False
    ) -> None:
        """`lag`: seconds by which what is removed goes later than what is written comes."""
        self.time, self.late, self.lag = 0.0, late, lag
        self.allow_first, self.drops_unreadable = allow_first, drops_unreadable
        self.written: list[tuple[float, str, Any]] = []
        self.arrived = 0
        self.adapter = load("istio")
        self.keeps: dict[Callable[..., Any], Any] = {}

    # -- what checks ask of their context --------------------------------------------------------------------------

    def space(self, place: str) -> str:
        return f"mp-{place}"

    def url(self, *_: object) -> str:
        return "http://server/"

    def pod(self, _: str) -> str:
        return "server"

    def serves(self, *_: object) -> bool:
        return True

    def served(self, _: str) -> int:
        return self.arrived

    def shared(self, collect: Callable[..., Any]) -> Any:
        return self.keeps.setdefault(collect, collect(self))

    def render(self, intent: Intent) -> Any:
        return self.adapter.render(intent)

    def apply(self, *intents: Intent) -> None:
        for one in intents:
            for item in self.render(one).objects:
                policy = None if isinstance(one, UnreadableAccess) and self.drops_unreadable else item["spec"]
                self.written.append((self.time + self.late, item["metadata"]["name"], policy))

    def remove(self, *objects: Any) -> None:
        self.written += [(self.time + self.late + self.lag, one["metadata"]["name"], None) for one in objects]

    def in_force(
        self, probe: Callable[[], bool], what: str, *, successes: int = 1, timeout: float | None = None
    ) -> None:
        end, row = self.time + (LIMIT if timeout is None else timeout), 0
        while row < successes:
            row = row + 1 if probe() else 0
            self.time += 0.1
            if self.time > end:
                raise NotInForce(what)

    def client(self, caller: str) -> Any:
        return SimpleNamespace(batch=lambda batch: self.batch(caller, batch))

    def batch(self, caller: str, batch: Batch) -> list[Record]:
        self.time += 0.02
        through = self.lets_in(caller, PORTS[batch.protocol])
        count = cast("int", batch.count)
        self.arrived += through * count
        status, reply = (200, {"pod": "server"}) if through else (403, None)
        return [Record(start=self.time, seconds=0.001, status=status, reply=reply) for _ in range(count)]

    # -- what it does ----------------------------------------------------------------------------------------------

    def lets_in(self, caller: str, port: int) -> bool:
        policies = dict.fromkeys(name for _, name, _ in self.written)
        for at, name, policy in self.written:
            if at <= self.time:
                policies[name] = policy
        allows = [one for one in policies.values() if one and one["action"] == "ALLOW"]
        denies = [one for one in policies.values() if one and one["action"] == "DENY"]
        allowed = any(self._hits(one, caller, port) for one in allows)
        if self.allow_first and allowed:
            return True
        return not any(self._hits(one, caller, port) for one in denies) and (allowed or not allows)

    def _hits(self, policy: Any, caller: str, port: int) -> bool:
        """Whether a rule of a policy is for a caller and a port."""
        return any(self._fits(rule, caller, str(port)) for rule in policy.get("rules", ()))

    def _fits(self, rule: Any, caller: str, port: str) -> bool:
        place = ground.CALLERS.get(caller, "nowhere")
        names = {f"cluster.local/ns/mp-{place}/sa/{caller}", self.space(place)}
        sources = [part["source"] for part in rule.get("from", ())]
        ports = {one for part in rule.get("to", ()) for one in part["operation"].get("ports", ())}
        meant = {name for one in sources for key in ("principals", "namespaces") for name in one.get(key, ())}
        return "when" not in rule and (not sources or bool(names & meant)) and (not ports or port in ports)


BODIES: dict[str, tuple[Callable[[Context], Any], Callable[[Any], Judgement]]] = {
    "AZ-01": (az.default_deny, judge_access),
    "AZ-02": (az.allowed_identity, judge_access),
    "AZ-03": (az.other_identity, judge_access),
    "AZ-04": (az.deny_beats_allow, judge_access),
    "AZ-05": (az.namespace, judge_access),
    "AZ-07": (az.port, judge_access),
    "AZ-09": (unreadable, judge_unreadable),
}


def verdicts(mesh: _Mesh, *ids: str) -> list[Verdict]:
    found = []
    for one in ids:
        collect, judge = BODIES[one]
        found.append(judge(collect(cast("Context", mesh))).verdict)
    return found


@pytest.mark.parametrize("late", [0.0, 0.3, 2.0])
def test_a_sound_mesh_passes_in_every_order(late):
    for order in permutations(("AZ-01", "AZ-04", "AZ-05", "AZ-09")):
        assert verdicts(_Mesh(late), *order) == [Verdict.PASS] * 4
    everything = tuple(BODIES)
    for order in (everything, everything[::-1]):
        assert verdicts(_Mesh(late), *order) == [Verdict.PASS] * len(order)


@pytest.mark.parametrize("late", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("before", ["AZ-01", "AZ-02", "AZ-03", "AZ-05"])
def test_an_allowance_that_beats_a_denial_is_seen_whatever_was_in_force_before(before, late):
    assert verdicts(_Mesh(late, allow_first=True), before, "AZ-04") == [Verdict.PASS, Verdict.FAIL]


@pytest.mark.parametrize("late", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("before", ["AZ-01", "AZ-05", "AZ-07"])
def test_a_dropped_policy_is_seen_whatever_was_in_force_before(before, late):
    mesh = _Mesh(late, drops_unreadable=True)
    assert verdicts(mesh, before, "AZ-09") == [Verdict.PASS, Verdict.FAIL]


class _Accountless(_Mesh):
    """Every caller of the mesh counts as each account."""

    def _fits(self, rule: Any, caller: str, port: str) -> bool:
        return super()._fits(rule, "client" if caller in ground.CALLERS else caller, port)


@pytest.mark.parametrize("before", ["AZ-01", "AZ-02", "AZ-07"])
def test_an_account_that_is_not_looked_at_is_seen_whatever_was_in_force_before(before):
    assert verdicts(_Accountless(0.3), before, "AZ-03") == [Verdict.PASS, Verdict.FAIL]


@pytest.mark.parametrize("lag", [0.3, 1.0])
def test_a_sound_mesh_passes_though_what_is_removed_goes_late(lag):
    for pair in permutations(BODIES, 2):
        assert verdicts(_Mesh(0.3, lag=lag), *pair) == [Verdict.PASS] * 2, pair


def test_what_contradicts_a_mark_can_be_said_by_every_mesh_that_can_say_the_policies():
    """Kuma 2 has no words for accounts, and some for a policy that lets nobody in."""
    kuma = Kuma(KumaSettings(version="2"))
    ctx = Context(cast("Any", None), kuma, ground.GROUND, run="r", image="i", alpha=1e-5)
    assert not isinstance(kuma.render(ground.allow(ctx, "nothing")), Unsupported)
    for wanted in (False, True):
        policy, shown = ground._contrary(ctx, [ground.Ask("client", wanted=wanted)])
        assert not isinstance(kuma.render(policy), Unsupported)
        assert shown.wanted is not wanted


class _Dropping(_Mesh):
    """What is denied is dropped, and the mesh says so. Of a dead one everything is."""

    def __init__(self, late: float, *, says: bool = True, allow_first: bool = False) -> None:
        super().__init__(late, allow_first=allow_first)
        self.says, self.dead = says, False
        self.adapter = cast("Any", SimpleNamespace(render=self.render))

    def render(self, intent: Intent) -> Any:
        return replace(cast("Rendered", load("istio").render(intent)), drops=self.says)

    def batch(self, caller: str, batch: Batch) -> list[Record]:
        before = self.arrived
        found = super().batch(caller, batch)
        if self.dead:
            self.arrived = before
        elif found[0].reply is not None:
            return found
        self.time += batch.timeout * math.ceil(len(found) / batch.concurrency)
        return [replace(one, error="timeout", status=0, reply=None) for one in found]


@pytest.mark.parametrize("late", [0.0, 0.3, 2.0, 9.0])
def test_a_sound_mesh_that_drops_what_it_denies_passes_in_every_order(late):
    for order in (tuple(BODIES), tuple(BODIES)[::-1]):
        assert verdicts(_Dropping(late), *order) == [Verdict.PASS] * len(order)


def test_timeouts_are_no_refusals_unless_the_mesh_says_so():
    with pytest.raises(NotInForce):
        verdicts(_Dropping(0.0, says=False), "AZ-02")


@pytest.mark.parametrize("before", ["AZ-01", "AZ-05"])
def test_an_allowance_that_beats_a_denial_is_seen_on_a_mesh_that_drops_too(before):
    assert verdicts(_Dropping(0.3, allow_first=True), before, "AZ-04") == [Verdict.PASS, Verdict.FAIL]


def test_where_all_is_dropped_what_is_allowed_afterwards_tells_it_from_a_dead_network():
    mesh = _Dropping(0.0)
    found = az.default_deny(cast("Context", mesh))
    assert [one.dropped for one in found.attempts] == [True] * 7 + [False]
    assert "allowed afterwards" in found.attempts[-1].request
    mesh = _Dropping(0.0)
    assert verdicts(mesh, "AZ-02") == [Verdict.PASS]
    mesh.dead = True
    with pytest.raises(NotInForce):
        verdicts(mesh, "AZ-01")


class _Pausing(_Mesh):
    """A second passes between the last look at a mark and the requests that are judged."""

    def pod(self, name: str) -> str:
        self.time += 1.0
        return super().pod(name)


def test_what_shows_only_after_the_limit_is_too_late():
    mesh = _Pausing(LIMIT + 0.5)
    with pytest.raises(NotInForce):
        verdicts(mesh, "AZ-01")
