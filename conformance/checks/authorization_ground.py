"""AZ: the ground of the authorization checks, and how what a policy lets through is asked for.

One server, whose policies the checks replace one after the other. Callers differ in service account and in namespace;
the name of one namespace begins with the name of another, so that a comparison of beginnings shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from conformance.adapters import Rendered
from conformance.catalogue import place
from conformance.checks.authorization_judges import Access, Attempt, judge_access, summarise
from conformance.checks.mtls_judges import HTTP, PROTOCOL, TCP
from conformance.context import LIMITS, Context
from conformance.ground import Ground, Place, Svc, Workload
from conformance.intents import Access as Policy
from conformance.intents import AccessRule, Effect, Intent, Mode, MtlsMode
from conformance.shut_gates import asked_anyway
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

__all__ = [
    "ATTEMPTS",
    "CALLERS",
    "GROUND",
    "REFERENCE",
    "SERVER",
    "Ask",
    "account",
    "allow",
    "deny",
    "drops",
    "establish",
    "judged",
    "proven",
    "rehearsed",
    "within",
]

SERVER = "server"
SUCCESSES = 2
"""How often in a row a mark must show."""
ATTEMPTS = 10
"""Requests of each kind. A policy is in force or not: this is no percentage, the number only guards against a fluke."""
CALLERS = {"client": "in", "other": "in", "friend": "friend", "friendly": "friendly"}
"""Meshed callers, and the place of each. Each has a service account of its own name."""
REFERENCE = "https://istio.io/latest/docs/reference/config/security/authorization-policy/"

GROUND = place(
    Ground(
        name="authz",
        order=0,  # one of its checks waits for as long as a mesh drains connections
        places=(Place("in", meshed=True), Place("friend", meshed=True), Place("friendly", meshed=True), Place("out")),
        workloads=(
            Workload(SERVER, "in"),
            *(Workload(name, where, kind="client", account=name) for name, where in CALLERS.items()),
            Workload("outsider", "out", kind="client"),
        ),
        services=(Svc(SERVER, "in", SERVER),),
        # What is denied is to be denied by a policy, also on a mesh that refuses plaintext by default.
        standing=lambda spaces: (MtlsMode(spaces["in"], Mode.PERMISSIVE),),
    )
)


@dataclass(frozen=True)
class Ask:
    """One kind of request, and whether it should get through."""

    caller: str
    wanted: bool
    port: int = HTTP
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    repeated: Mapping[str, str] = field(default_factory=dict)
    """Headers that are sent once more, with these values."""
    note: str = ""
    count: int = ATTEMPTS

    @property
    def words(self) -> str:
        """For people."""
        target = f"port {self.port}" if self.port != HTTP else f"{self.method} {self.path}"
        return f"{self.caller}, {target}" + (f", {self.note}" if self.note else "")


def send(ctx: Context, ask: Ask) -> list[Record]:
    """Send the requests, each on a connection of its own."""
    scheme = "tcp" if ask.port == TCP else "http"
    batch = Batch(
        url=ctx.url(SERVER, ask.port, "" if ask.port == TCP else ask.path, scheme),
        protocol=PROTOCOL[ask.port],
        count=ask.count,
        concurrency=ask.count if drops(ctx) and not ask.wanted else min(ask.count, 4),
        method=ask.method,
        headers=ask.headers,
        repeated=ask.repeated,
        body="line" if ask.port == TCP else "",
        timeout=LIMITS.probe,
        fresh=True,
        fields=("pod",),
    )
    return ctx.client(ask.caller).batch(batch)


def drops(ctx: Context) -> bool:
    """Whether the mesh says that it drops what it denies, so that timeouts are what refusals look like."""
    found = ctx.adapter.render(allow(ctx, "nobody"))
    return isinstance(found, Rendered) and found.drops


def within(ctx: Context, asks: Sequence[Ask]) -> list[Ask]:
    """Those of the requests that go to a port of which the mesh knows."""
    return [ask for ask in asks if ctx.serves("in", ask.port)]


def judged(ctx: Context, asks: Sequence[Ask]) -> Access:
    """Every request once more and counted at both ends."""
    pod = ctx.pod(SERVER)
    attempts: list[Attempt] = []
    before = ctx.served(pod)
    for ask in within(ctx, asks):
        records = send(ctx, ask)
        after = ctx.served(pod)
        attempts.append(summarise(ask.words, ask.wanted, records, after - before, drops=drops(ctx)))
        before = after
    return Access(tuple(attempts))


def rehearsed(ctx: Context, asks: Sequence[Ask]) -> bool:
    """Whether each kind of request ends as it should, as many of them as are judged: the mark of a policy.

    Not just one: proxies keep connections to each other, and what came to be under the policies of before may follow
    these until it is drained. Timeouts say nothing, as long as there is anything else, but where denials are drops.
    """
    for ask in within(ctx, asks):
        records = send(ctx, ask)
        if summarise(ask.words, ask.wanted, records, 0, drops=drops(ctx)).dropped:
            continue
        told = [record for record in records if record.error != "timeout"]
        if not told or any((record.ok and record.reply is not None) is not ask.wanted for record in told):
            return False
    return True


def establish(ctx: Context, *intents: Intent, mark: Sequence[Ask]) -> None:
    """Put policies in force in place of those of the check before, and wait until they show.

    A mark that shows already, by what the check before left, would say nothing of these policies: in that case what
    contradicts it is put in force first.
    """
    if rehearsed(ctx, mark):
        contrary, shown = _contrary(ctx, mark)
        _replace(ctx, contrary, mark=[shown])
    _replace(ctx, *intents, mark=mark)


def _contrary(ctx: Context, mark: Sequence[Ask]) -> tuple[Policy, Ask]:
    """A policy under which one kind of request of a mark ends otherwise, and that kind."""
    if through := next((ask for ask in mark if ask.wanted), None):
        return allow(ctx, "nobody"), replace(through, wanted=False)
    refused = next(ask for ask in mark if ask.caller in CALLERS)
    # Whoever asks, as some meshes have words for that and none for accounts.
    return allow(ctx, "anybody", AccessRule()), replace(refused, wanted=True)


def _replace(ctx: Context, *intents: Intent, mark: Sequence[Ask]) -> None:
    left = ctx.shared(_left)
    wanted = [item for intent in intents for item in ctx.render(intent).objects]
    ctx.apply(*intents)
    names = {(item["kind"], item["metadata"]["name"]) for item in wanted}
    ctx.remove(*(item for item in left if (item["kind"], item["metadata"]["name"]) not in names))
    left[:] = wanted
    ctx.in_force(
        partial(rehearsed, ctx, mark), "the policies of the server", timeout=_limit(ctx, mark), successes=SUCCESSES
    )


def _limit(ctx: Context, mark: Sequence[Ask]) -> float:
    """How long a mark may take to show, seconds: what is dropped takes its timeout each time that it is asked for."""
    dropped = sum(not ask.wanted for ask in mark) if drops(ctx) else 0
    return LIMITS.in_force + SUCCESSES * dropped * LIMITS.probe


def proven(ctx: Context, *intents: Intent, asks: Sequence[Ask], mark: Sequence[Ask] = ()) -> Access:
    """Put policies in force of which what is asked is the mark (some of it, or all), and ask, shown or not."""
    gate = partial(establish, ctx, *intents, mark=mark or asks)
    found = asked_anyway(gate, partial(judged, ctx, asks), judge_access)
    if any(ask.wanted for ask in asks) or not drops(ctx) or judge_access(found).verdict is Verdict.FAIL:
        return found
    return _beside(ctx, asks, found)


def _beside(ctx: Context, asks: Sequence[Ask], found: Access) -> Access:
    """What was dropped, and one kind of it once it is allowed: that it gets through tells a denial from an outage."""
    allowed, shown = _contrary(ctx, asks)
    _replace(ctx, allowed, mark=[shown])
    return Access((*found.attempts, *judged(ctx, [replace(shown, note="allowed afterwards")]).attempts))


def _left(_: Context) -> list[Mapping[str, Any]]:
    """The policies that the last check of this ground put in force."""
    return []


def allow(ctx: Context, name: str, *rules: AccessRule) -> Policy:
    """Let these requests to the server in, and no others."""
    return Policy(name, ctx.space("in"), SERVER, Effect.ALLOW, rules)


def deny(ctx: Context, name: str, *rules: AccessRule) -> Policy:
    """Refuse these requests to the server."""
    return Policy(name, ctx.space("in"), SERVER, Effect.DENY, rules)


def account(ctx: Context, caller: str) -> tuple[str, str]:
    """Namespace and service account of a caller."""
    return ctx.space(CALLERS[caller]), caller
