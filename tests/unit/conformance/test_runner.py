"""The runner with a cluster that nobody asks: grounds are ready at once, checks are made up."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import Rendered, load
from conformance.catalogue import checks, ground_of
from conformance.context import Context, NotExpressible, NotInForce, Refused
from conformance.keeper import Keeper
from conformance.model import Check, Judgement, failed, inconclusive, passed, proven
from conformance.runner import OUTSIDE, Options, Runner
from conformance.stalls import standstill
from conformance.trouble import Trouble
from fixtures.kube import UNKNOWN_KIND, ApiProblem, ForwardProblem, Kube, eventually
from fixtures.kube.runner import is_dead, runner_name
from reports.errors import EnvironmentProblem
from reports.model import Verdict


class ReadyKeeper:
    """Every ground is ready, but for those named."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken

    def ensure(self, ground) -> None:
        if ground.name == self.broken:
            raise EnvironmentProblem("2 pods are not ready")


class EmptyKube:
    """A cluster without objects."""

    def get(self, *_: object) -> None:
        """Nothing is there."""

    def list(self, *_: object, **__: object) -> list[dict[str, Any]]:
        return []


def runner(tmp_path, *, broken: str = "", **options) -> Runner:
    made = Options(mesh="none", run="r", image="i", report_dir=tmp_path, reproduce="pytest --only {id}", **options)
    MADE.append(Runner(cast("Kube", EmptyKube()), load("none"), made, cast("Keeper", ReadyKeeper(broken))))
    return MADE[-1]


MADE: list[Runner] = []


@pytest.fixture(autouse=True)
def _closed():
    yield
    while MADE:
        MADE.pop().close()


def made_up(
    collect: Callable[[Any], Any] = lambda _: "history",
    judge: Callable[[Any], Judgement] = passed,
    name: str = "XX-01",
    requires: tuple[str, ...] = (),
    ground: str = "wt",
    anywhere: bool = False,
) -> Check:
    return Check(name, "t", ("f",), requires, "core", "", ground, collect, judge, anywhere)


def ends_with(error: Exception) -> Callable[[Any], Any]:
    def collect(ctx: object) -> None:
        raise error

    return collect


NO_RIGHTS = 'policies.x.io "a" is forbidden: User "ci" cannot patch resource "policies" in API group "x.io"'


@pytest.mark.parametrize(
    ("collect", "judge", "verdict"),
    [
        (lambda _: "fine", passed, Verdict.PASS),
        (lambda _: "bad", failed, Verdict.FAIL),
        (lambda _: "thin", inconclusive, Verdict.INCONCLUSIVE),
        (ends_with(NotExpressible("no words")), passed, Verdict.UNSUPPORTED),
        (ends_with(NotInForce("no mark")), passed, Verdict.FAIL),
        (ends_with(Refused("refused", status=422, message="spec.x: bad")), passed, Verdict.FAIL),
        (ends_with(ApiProblem("a pod is refused", status=403, message="exceeded quota")), passed, Verdict.INCONCLUSIVE),
        (ends_with(ApiProblem("no rights", status=403, message=NO_RIGHTS)), passed, Verdict.INCONCLUSIVE),
        (ends_with(ApiProblem("a pod is gone", status=404)), passed, Verdict.INCONCLUSIVE),
        (ends_with(ApiProblem("the quota changed", status=409)), passed, Verdict.INCONCLUSIVE),
        (ends_with(ApiProblem("down", status=503)), passed, Verdict.INCONCLUSIVE),
        (ends_with(ApiProblem("no HTTPRoute", status=404, reason=UNKNOWN_KIND)), passed, Verdict.INCONCLUSIVE),
        (ends_with(EnvironmentProblem("gone")), passed, Verdict.INCONCLUSIVE),
        (ends_with(ZeroDivisionError("bug")), passed, Verdict.INCONCLUSIVE),
        (lambda _: "fine", lambda _: 1 / 0, Verdict.INCONCLUSIVE),
    ],
)
def test_every_end_of_a_check_has_its_verdict(tmp_path, collect, judge, verdict):
    result = runner(tmp_path).result(made_up(collect, judge))
    assert result.verdict is verdict
    assert result.reason
    bundled = (tmp_path / "bundles" / "XX-01" / "history.json").exists()
    assert bundled == (verdict in {Verdict.FAIL, Verdict.INCONCLUSIVE})


@pytest.mark.parametrize(
    "error",
    [Refused("refused", status=422, message="x" * 5000), RuntimeError("x" * 5000), EnvironmentProblem("x" * 5000)],
)
def test_a_reason_is_short_and_the_bundle_has_all_of_it(tmp_path, error):
    assert len(runner(tmp_path).result(made_up(ends_with(error))).reason) < 500
    assert "x" * 5000 in (tmp_path / "bundles" / "XX-01" / "history.json").read_text()


def test_a_bundle_that_cannot_be_written_costs_no_verdict(tmp_path):
    collected: list[str] = []
    (tmp_path / "bundles").write_text("a file where the folder should be")
    made = runner(tmp_path)
    check = made_up(lambda _: collected.append("once"), failed)
    assert made.found(check) is None
    result = made.result(check)
    assert result.verdict is Verdict.FAIL
    assert result.evidence[-1].title == "no whole bundle"
    assert "FileExistsError" in str(result.evidence[-1].data) or "NotADirectory" in str(result.evidence[-1].data)
    assert made.result(check) is made.found(check) is result
    assert collected == ["once"]


@pytest.mark.parametrize("judge", [passed, failed])
def test_what_passes_with_a_check_goes_once_its_bundle_is_written(tmp_path, monkeypatch, judge):
    steps: list[object] = []
    monkeypatch.setattr("conformance.runner.write_bundle", lambda *_: steps.append("bundle"))
    monkeypatch.setattr("conformance.context.put", lambda _, item: steps.append(item["metadata"]["name"]))
    monkeypatch.setattr(Context, "remove", lambda _, *items: steps.append([one["metadata"]["name"] for one in items]))
    monkeypatch.setattr(Context, "render", lambda _, names: Rendered(tuple({"metadata": {"name": n}} for n in names)))

    def collect(ctx: Any) -> None:
        ctx.apply(("kept",))
        ctx.apply(("a", "b"), passing=True)

    made = runner(tmp_path)
    made.result(made_up(collect, judge, name="XX-01"))
    written = ["bundle"] if judge is failed else []
    assert steps == ["kept", "a", "b", *written, ["b", "a"]]
    made.result(made_up(name="XX-02"))
    assert steps[-1] == []


class Intents:
    """An adapter and a cluster: every intent is the same rendering, and the server answers each apply like this."""

    def __init__(
        self, rendered: Rendered, answer: Exception | None = None, live: Mapping[str, Any] | None = None
    ) -> None:
        self.rendered = rendered
        self.answer = answer
        self.live = live
        self.taken: list[str] = []

    def render(self, _: object) -> Rendered:
        return self.rendered

    def get(self, *_: object) -> Mapping[str, Any] | None:
        return self.live

    def patch(self, _version: str, kind: str, *_: object) -> None:
        self.taken.append(kind)

    def apply(self, item: Mapping[str, Any]) -> None:
        if self.answer is not None:
            raise self.answer
        self.taken.append(item["kind"])

    def put(self) -> None:
        ground = ground_of("wt")
        ctx = Context(cast("Kube", self), cast("Any", self), ground, run="r", image="i", alpha=1e-5)
        ctx.apply(cast("Any", "intent"))


ROUTE = {"apiVersion": "x/v1", "kind": "Route", "metadata": {"name": "a", "namespace": "ns"}, "spec": {"retry": {}}}
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns", "annotations": {"mode": "strict"}}}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "ns"}}
TYPED = (
    "failed to create typed patch object (ns/a; x/v1, Kind=Route): .spec.rules[0].retry: field not declared in schema"
)


@pytest.mark.parametrize(
    ("status", "message", "field"),
    [
        (500, TYPED, "spec.rules[0].retry"),
        (
            400,
            'Route in version "v1" cannot be handled: strict decoding error: unknown field "spec.retry"',
            "spec.retry",
        ),
    ],
)
def test_a_field_that_the_clusters_definitions_lack_is_nothing_a_mesh_failed_at(status, message, field):
    answer = ApiProblem("refused", status=status, message=message)
    with pytest.raises(NotExpressible, match=f"this cluster's definition of Route has no {re.escape(field)}$"):
        Intents(Rendered(objects=(ROUTE,)), answer).put()
    refused = ApiProblem("refused", status=422, message="spec.retry: Invalid value")
    with pytest.raises(Refused, match="refused"):
        Intents(Rendered(objects=(ROUTE,)), refused).put()
    without_rights = ApiProblem("refused", status=403, message=NO_RIGHTS)
    with pytest.raises(ApiProblem) as caught:
        Intents(Rendered(objects=(ROUTE,)), without_rights).put()
    assert caught.value is without_rights


LISTED = (
    'HTTPRoute "moved" is invalid: spec.rules[1].requestRedirect.statusCode: Unsupported value: 303: supported values'
)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (f'{LISTED}: "301", "302"', "spec.rules[1].requestRedirect.statusCode"),
        ('it is invalid: [statusCode: Unsupported value: 303: supported values: "301", <nil>: Invalid', "statusCode"),
    ],
)
def test_a_value_that_the_clusters_gateway_api_is_too_old_for_is_nothing_a_mesh_failed_at(message, told):
    answer = ApiProblem("refused", status=422, message=message)
    route = {**ROUTE, "apiVersion": "gateway.networking.k8s.io/v1"}
    with pytest.raises(NotExpressible, match=f"does not list 303 for {re.escape(told)}$"):
        Intents(Rendered(objects=(route,)), answer).put()
    with pytest.raises(Refused, match="refused"):  # a mesh's own kind lists what the mesh knows
        Intents(Rendered(objects=(ROUTE,)), answer).put()


def test_what_only_new_pods_take_over_is_not_told_to_running_ones():
    made = Intents(Rendered(merges=(SERVICE,), objects=(ROUTE,)))
    made.put()
    assert made.taken == ["Service", "Route"]
    made = Intents(Rendered(merges=(SPACE,), objects=(ROUTE,)))
    with pytest.raises(NotExpressible, match="new pods only"):
        made.put()
    assert made.taken == []


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({"mode": "strict", "inject": "enabled"}, True),
        ({"mode": "permissive"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_what_a_namespace_has_said_since_before_its_pods_can_be_asked_of_it(live, said):
    made = Intents(Rendered(merges=(SPACE,)), live={"metadata": {"name": "ns", "annotations": live}})
    with contextlib.nullcontext() if said else pytest.raises(NotExpressible, match="new pods only"):
        made.put()
    assert made.taken == (["Namespace"] if said else [])


def test_a_kind_that_the_cluster_does_not_know_is_named_with_what_to_do():
    error = ApiProblem("the cluster does not know HTTPRoute", status=404, reason=UNKNOWN_KIND, fix="install them")
    assert Trouble.of(error).judgement.reason == "the cluster does not know HTTPRoute: install them"


def test_a_check_that_passes_without_a_mesh_is_wrong(tmp_path):
    without, there = runner(tmp_path), runner(tmp_path)
    there.options = replace(there.options, mesh="refmesh")
    passing = made_up()
    assert [one.result(passing).failed for one in (without, there)] == [True, False]


def test_a_result_says_how_to_see_it_again(tmp_path):
    assert runner(tmp_path).result(made_up()).reproduce == "pytest --only XX-01"


@pytest.mark.parametrize(("judge", "said"), [(failed, True), (passed, False), (inconclusive, False)])
def test_a_failure_says_that_no_workload_opted_in(tmp_path, judge, said):
    made = runner(tmp_path)
    made.adapter = load("gateway-api")
    evidence = {one.title: str(one.data) for one in made.result(made_up(judge=judge)).evidence}
    assert ("--set namespace-labels=KEY=VALUE" in evidence.get(OUTSIDE, "")) is said


def wired(tmp_path, needed: Verdict, **options) -> tuple[Runner, list[str]]:
    """A check XX-02 that requires XX-01, and who was collected."""
    asked: list[str] = []

    def collect(name: str) -> Callable[[Any], str]:
        def note(ctx: Context) -> str:
            asked.append(f"{name} on {ctx.ground.name}")
            return name

        return note

    judges = {Verdict.PASS: passed, Verdict.FAIL: failed, Verdict.INCONCLUSIVE: inconclusive}
    made = runner(tmp_path, **options)
    first = made_up(collect("XX-01"), judges[needed], anywhere=True, ground="inj")
    second = made_up(collect("XX-02"), passed, name="XX-02", requires=("XX-01",))
    made._by_id = {"XX-01": first, "XX-02": second}
    return made, asked


@pytest.mark.parametrize("needed", [Verdict.FAIL, Verdict.INCONCLUSIVE])
def test_without_its_requirement_a_check_is_not_run(tmp_path, needed):
    made, asked = wired(tmp_path, needed)
    result = made.result(made._by_id["XX-02"])
    assert result.verdict is Verdict.NOT_RUN
    assert "requires XX-01" in result.reason
    assert asked == ["XX-01 on wt"]  # the requirement is looked at where the dependant runs


@pytest.mark.parametrize(("anywhere", "verdict"), [(True, Verdict.PASS), (False, Verdict.UNSUPPORTED)])
def test_what_a_mesh_declares_impossible_is_not_held_against_what_builds_on_it(tmp_path, anywhere, verdict):
    made, _ = wired(tmp_path, Verdict.PASS)
    first = made_up(ends_with(NotExpressible("pods are not changed")), anywhere=anywhere, ground="inj")
    made._by_id["XX-01"] = first
    result = made.result(made._by_id["XX-02"])
    assert result.verdict is verdict
    assert anywhere or "pods are not changed" in result.reason


def test_a_requirement_is_evaluated_once_a_ground(tmp_path):
    made, asked = wired(tmp_path, Verdict.PASS)
    assert made.result(made._by_id["XX-02"]).verdict is Verdict.PASS
    made.result(made._by_id["XX-02"])
    made.result(made._by_id["XX-01"])
    assert asked == ["XX-01 on wt", "XX-02 on wt", "XX-01 on inj"]


def test_requirements_can_be_ignored(tmp_path):
    made, asked = wired(tmp_path, Verdict.FAIL, ignore_requires=True)
    assert made.result(made._by_id["XX-02"]).verdict is Verdict.PASS
    assert asked == ["XX-02 on wt"]


def test_a_ground_that_does_not_come_up_gives_no_verdict(tmp_path):
    made = runner(tmp_path, broken="wt")
    result = made.result(made_up())
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "2 pods are not ready" in result.reason


class Told:
    """A pod's program, which has stood still."""

    def __init__(self, *stalls: tuple[float, float]) -> None:
        self._stalls = list(stalls)

    def stalls(self) -> list[tuple[float, float]]:
        return self._stalls

    def close(self) -> None:
        """Nothing to close."""


class Gone(Told):
    """A pod that is no more."""

    def stalls(self) -> list[tuple[float, float]]:
        raise ForwardProblem("pod is gone")


@pytest.mark.parametrize(
    ("begin", "seconds", "judge", "verdict"),
    [
        (0.0, 3.0, failed, Verdict.INCONCLUSIVE),
        (-1.0, 3.0, failed, Verdict.INCONCLUSIVE),  # it went on when the check began
        (0.0, 1.0, failed, Verdict.FAIL),  # too short to matter
        (-60.0, 3.0, failed, Verdict.FAIL),  # long before
        (0.0, 3.0, proven, Verdict.FAIL),  # no stall brings that about
        (0.0, 3.0, passed, Verdict.PASS),
    ],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_a_failure_while_a_pod_stood_still_is_no_verdict(tmp_path, begin, seconds, judge, verdict, accepted):
    def collect(ctx: Context) -> str:
        programs = {("s", "gone", 1): Gone(), ("s", "pod", 1): Told((time.time() + begin, seconds))}
        cast("Any", ctx)._controls = programs
        if not accepted and judge is failed:
            raise NotInForce("no mark")
        return "history"

    result = runner(tmp_path).result(made_up(collect, judge))
    assert result.verdict is verdict
    if verdict is not judge("").verdict:
        assert "stood still for 3.0 s" in result.reason


def test_a_stall_matters_where_it_is_a_good_part_of_the_time():
    stalls = [(100.0, 3.0), (200.0, 9.0)]
    assert standstill(stalls, [(95.0, 105.0)]) == 3.0
    assert standstill(stalls, [(80.0, 118.0)]) == 0.0  # who waits for 38 s has waited in spite of it
    assert standstill(stalls, [(180.0, 218.0)]) == 9.0
    assert standstill(stalls, [(110.0, 120.0)]) == 0.0
    assert standstill(stalls, [(0.0, 300.0), (101.0, 102.0)]) == 3.0
    assert standstill([], [(0.0, 1.0)]) == standstill(stalls, []) == 0.0


def test_a_shared_history_counts_from_when_it_was_collected(tmp_path):
    at: list[float] = []

    def collect(ctx: Context) -> float:
        def ground(_: Context) -> float:
            at.append(time.time())
            return at[0]

        found = ctx.shared(shared.setdefault("ground", ground))
        cast("Any", ctx)._controls = {("s", "pod", 1): Told((found - 3.0, 3.001))}
        return found

    shared: dict[str, Callable[[Context], float]] = {}
    made = runner(tmp_path)
    made.result(made_up(collect, name="XX-01"))
    eventually(lambda: time.time() > at[0] + 0.01, timeout=20, what="a moment later")
    assert made.result(made_up(collect, failed, name="XX-02")).verdict is Verdict.INCONCLUSIVE
    assert len(at) == 1


def test_what_only_prepares_the_ground_excuses_nothing_that_is_seen_later(tmp_path):
    def prepare(ctx: Context) -> float:
        cast("Any", ctx)._controls = {("s", "pod", 1): Told((time.time() - 3.0, 3.001))}
        return time.time()

    made = runner(tmp_path)
    made.result(made_up(lambda ctx: ctx.shared(prepare, judged=False), name="XX-01"))
    at = made._contexts["wt"]
    assert isinstance(at, Context)
    eventually(lambda: time.time() > at.shared(prepare, judged=False) + 0.01, timeout=20, what="a moment later")
    later = made_up(lambda ctx: ctx.shared(prepare, judged=False), failed, name="XX-02")
    assert made.result(later).verdict is Verdict.FAIL


def test_what_only_prepares_the_ground_is_none_of_the_time_of_the_check_that_came_first(tmp_path, monkeypatch):
    now = 100.0
    made = runner(tmp_path)

    def takes(seconds: float) -> None:
        nonlocal now
        now += seconds

    def prepare(ctx: Context) -> None:
        ctx.shared(first, judged=False)
        takes(2.0)

    def first(_: Context) -> None:
        takes(4.0)

    def collect(ctx: Context) -> None:
        ctx.shared(prepare, judged=False)
        takes(1.0)

    clock = SimpleNamespace(time=lambda: 0.0, monotonic=lambda: now)
    for module in ("context", "runner"):
        monkeypatch.setattr(f"conformance.{module}.time", clock)
    assert [made.result(made_up(collect, name=name)).seconds for name in ("XX-01", "XX-02")] == [1.0, 1.0]
    assert made.prepared("wt") == 6.0


def test_a_process_notes_when_it_stood_still():
    program = (
        "import os, signal, sys, time; from conformance.stalls import Watch; watch = Watch(); watch.start()\n"
        "print('ready', flush=True); sys.stdin.readline(); print(max(one[1] for one in watch.stalls()))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        assert float(process.communicate("\n")[0]) > 1.0


def test_a_runner_is_dead_only_if_it_was_here_and_is_gone():
    assert not is_dead(runner_name())
    host, pid, started = runner_name().split("/")
    assert is_dead(f"{host}/{pid}/{int(started) + 1}")  # the process id was given to another
    assert is_dead(f"{host}/999999999/1")
    assert not is_dead("another-machine/1/1")
    name, _, machine = host.partition("@")
    assert machine
    assert not is_dead(f"{name}@00000000/999999999/1")  # of that name, but with processes of its own
    assert not is_dead("")


def test_the_real_catalogue_is_wired(tmp_path):
    made = runner(tmp_path)
    assert set(made._by_id) == {one.id for one in checks()}
    assert ground_of("wt").name == "wt"


def test_a_ground_into_which_others_put_policies_tells_nothing(tmp_path) -> None:
    fields = [{"manager": "kyverno"}]
    asked: list[str] = []

    def list_(_: str, kind: str, space: str) -> list[dict[str, Any]]:
        asked.append(space)
        return [{"metadata": {"name": "deny-all", "managedFields": fields}}] if kind == "AuthorizationPolicy" else []

    made = runner(tmp_path)
    made.adapter, made.kube = load("istio"), cast("Any", SimpleNamespace(get=lambda *_: None, list=list_))
    found = made.result(made_up())
    assert (found.verdict, "AuthorizationPolicy deny-all" in found.reason) == (Verdict.INCONCLUSIVE, True)
    assert set(asked) == {"mp-r-wt-in"}
