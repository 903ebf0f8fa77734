"""What the checks of LC collect: also what hangs, until old pods have ended, and no longer than the bound."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import Unsupported, load
from conformance.checks import crash, lifecycle, wide
from conformance.checks.capture_judges import Admitted
from conformance.checks.injection import Behaviour
from conformance.checks.lifecycle_judges import judge_crash, judge_deleted
from conformance.context import Context, Pod
from conformance.intents import Intent, Marker, RequestRoute, RoundRobin
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

HUNG = Record(100.0, 10.0, error="timeout")


def answer(pod: str, version: str = "v1") -> Record:
    return Record(100.0, 0.1, status=200, reply={"pod": pod, "version": version})


class _Job:
    """Requests of which one hangs: it has no record until it is waited for."""

    def __init__(self, ended: Sequence[Record], log: list[str]) -> None:
        self.ended, self.log = list(ended), log

    def records(self, since: int = 0) -> list[Record]:
        return self.ended[since:]

    def finish(self) -> list[Record]:
        self.log.append("finish")
        return [*self.ended, HUNG]


class _Mesh:
    """A cluster in which an old pod is still there for some looks, and a client that sends to it."""

    def __init__(self, *, looks: int = 2, answers: Sequence[Record] = ()) -> None:
        self.looks, self.log, self.run = looks, list[str](), "run"
        self.kube, self.ground, self.job = self, lifecycle.GROUND, _Job(answers, self.log)
        self.rolled = 0

    def space(self, place: str) -> str:
        return place

    def url(self, service: str, path: str = "/") -> str:
        return f"http://{service}{path}"

    def pods(self, _: str) -> list[Pod]:
        names = ("new-1", "new-2") if self.rolled else ("old-1", "old-2")
        return [Pod(name, "strict", "10.0.0.9", {}) for name in names]

    def patch(self, *_: object) -> None:
        self.rolled += 1

    def wait_rollout(self, *_: object) -> None: ...

    def list(self, *_: object) -> list[dict[str, Any]]:
        self.looks -= 1
        names = ["new-1", "new-2", *(["old-2"] if self.looks > 0 else [])]
        self.log.append(",".join(names))
        return [{"metadata": {"name": name}} for name in names]

    def client(self) -> Any:
        @contextlib.contextmanager
        def start(_: Batch) -> Iterator[_Job]:
            yield self.job

        return SimpleNamespace(start=start)

    def outsider(self) -> Any:
        return SimpleNamespace(batch=lambda _: [Record(0.0, 0.1, error="reset")] * 3)

    def expect_strict(self, _: str, *, taken: bool) -> None:
        assert not taken

    def until(self, probe: Callable[[], bool], what: str, _: float) -> None:
        assert any(probe() for _ in range(5)), what

    def watch(self, probe: Callable[[], bool], _: float) -> None:
        any(probe() for _ in range(5))


@pytest.mark.parametrize(("looks", "left"), [(2, ()), (99, ("old-2",))])
def test_lc_01_sends_until_the_old_pods_have_ended_and_counts_what_hangs(looks: int, left: tuple[str, ...]):
    ctx = _Mesh(looks=looks, answers=[answer("old-1")] * 40)
    found = lifecycle.rollout(cast("Context", ctx))
    assert (found.left, found.load.errors, found.load.sent) == (left, ("timeout",), 41)
    assert ctx.log[-1] == "finish"
    assert ctx.log.count("new-1,new-2,old-2") == (5 if left else 1)


def test_lc_05_goes_on_when_the_pod_of_each_stage_has_answered(monkeypatch: pytest.MonkeyPatch):
    ctx = _Mesh()
    cast("Any", ctx).render = lambda _: SimpleNamespace(labels={"mesh": "no"}, annotations={})
    asked_by: list[int] = []

    def observe(*_: object) -> Behaviour:
        ctx.job.ended = [answer(f"server-{k}") for k in range(ctx.rolled + 1)]
        return Behaviour(f"lax/server-{ctx.rolled}", (), "10.0.0.9", (), tls_answered=True)

    def watch(probe: Callable[[], bool], _: float) -> None:
        asked_by.append(ctx.rolled)
        assert any(probe() for _ in range(5))

    monkeypatch.setattr(lifecycle, "changes_pods", lambda _: None)
    monkeypatch.setattr(lifecycle, "observe", observe)
    monkeypatch.setattr(ctx, "watch", watch)
    found = lifecycle.moves(cast("Context", ctx))
    assert asked_by == [0, 1, 2, 2]  # at last for the end of the first stage's pod
    assert (found.unasked, found.left, found.load.errors) == ([], (), ("timeout",))


class _Proxy(_Mesh):
    """A proxy that is away for a second from the first order to end it on, and open or shut meanwhile."""

    def __init__(self, order: float, *, opens: bool = False, silent: float = 0.0) -> None:
        super().__init__()
        self.order, self.opens, self.time, self.killed = order, opens, 100.0, math.inf
        self.adapter, self.kube = load("refmesh"), self
        self.silent = silent
        """Seconds from that order on in which no plaintext is sent."""

    def now(self) -> float:
        return self.time

    def down(self, at: float) -> bool:
        return 0.0 <= at - self.killed < 1.0

    def pods(self, _: str) -> list[Pod]:
        status = {"name": "proxy", "state": {"running": {}}, "restartCount": 0}
        spec = {"containers": [{"name": "echo"}, {"name": "proxy"}]}
        return [Pod("fragile", "strict", "10.0.0.9", {"spec": spec, "status": {"containerStatuses": [status]}})]

    def exec(self, *_: object, **__: object) -> None:
        self.killed = min(self.killed, self.time)
        self.time += self.order

    def get(self, *_: object) -> dict[str, Any]:
        restarts = int(self.time >= self.killed + 1.0)
        return {"status": {"containerStatuses": [{"name": "proxy", "restartCount": restarts}]}}

    def watch(self, probe: Callable[[], bool], timeout: float) -> None:
        end = self.time + timeout
        while not probe() and self.time < end:
            self.time += 0.3

    def client(self) -> Any:
        def batch(_: Batch) -> list[Record]:
            return [Record(self.time, 0.1, error="refused") if self.down(self.time) else answer("fragile")]

        return SimpleNamespace(batch=batch)

    def outsider(self) -> Any:
        began = self.time

        def finish() -> list[Record]:
            moments = (began + k / crash.TRIES for k in range(int((self.time - began) * crash.TRIES)))
            sent = [at for at in moments if not 0.0 <= at - self.killed < self.silent]
            taken, reset = answer("fragile"), Record(0.0, 0.1, error="reset")
            return [replace(taken if self.opens and self.down(at) else reset, start=at) for at in sent]

        job = contextlib.nullcontext(SimpleNamespace(finish=finish))
        return SimpleNamespace(batch=lambda _: [Record(0.0, 0.1, error="reset")] * 3, start=lambda _: job)


@pytest.mark.parametrize(
    ("mesh", "missed", "verdict"),
    [
        (_Proxy(0.02), 4, Verdict.PASS),
        (_Proxy(0.02, opens=True), 4, Verdict.FAIL),
        (_Proxy(2.0), 0, Verdict.PASS),
        (_Proxy(2.0, opens=True), 0, Verdict.FAIL),
        (_Proxy(2.0, opens=True, silent=1.2), 0, Verdict.INCONCLUSIVE),
    ],
)
def test_lc_04_tries_plaintext_while_the_proxy_is_down_however_long_orders_take(
    monkeypatch: pytest.MonkeyPatch, mesh: _Proxy, missed: int, verdict: Verdict
):
    monkeypatch.setattr(crash, "changes_pods", lambda _: None)
    found = crash.crash(cast("Context", mesh))
    assert judge_crash(found).verdict is verdict
    assert (found.missed, found.restarts, found.own_restarts) == (missed, 1, 0)


def test_lc_04_counts_no_answer_after_its_limit(monkeypatch: pytest.MonkeyPatch):
    ctx = _Proxy(0.02)
    monkeypatch.setattr(crash, "changes_pods", lambda _: None)
    monkeypatch.setattr(
        ctx, "get", lambda *_: {"status": {"containerStatuses": [{"name": "proxy", "restartCount": 1}]}}
    )
    monkeypatch.setattr(ctx, "watch", lambda probe, _: probe())  # one look, and the time is over
    found = crash.crash(cast("Context", ctx))
    assert (found.back, found.missed, found.restarts) == (None, 1, 1)


def test_lc_07_gives_a_mesh_its_time_to_take_a_route_away_whose_version_is_gone_already():
    both = [answer("a", "v1"), answer("b", "v2")]
    broken = [Record(0.0, 0.1, status=503)] * 2
    batches = iter([[answer("b", "v2")] * 30, [*both * 14, *broken], [*both * 14, *broken], both * 15])
    ctx = _Mesh()
    cast("Any", ctx).marker = lambda backend: Marker("x-mark", "y", backend)
    cast("Any", ctx).render = lambda _: SimpleNamespace(objects=())
    cast("Any", ctx).adapter = load("refmesh")
    for name in ("apply", "gate", "remove"):
        setattr(ctx, name, lambda *_: None)
    cast("Any", ctx).client = lambda: SimpleNamespace(batch=lambda _: next(batches))
    assert judge_deleted(lifecycle.deleted(cast("Context", ctx))).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("mesh", "carrier"),
    [("refmesh", RoundRobin), ("istio", RoundRobin), ("linkerd", RequestRoute), ("gateway-api", RequestRoute)],
)
def test_lc_07_deletes_a_route_where_a_mesh_has_no_turns(mesh: str, carrier: type[Intent]):
    both = [answer("a", "v1"), answer("b", "v2")]
    batches = iter([[answer("b", "v2")] * 30, both * 15])
    applied: list[Intent] = []
    ctx = _Mesh()
    cast("Any", ctx).marker = lambda backend: Marker("x-mark", "y", backend)
    adapter = load(mesh)
    cast("Any", ctx).adapter = adapter
    cast("Any", ctx).apply = applied.append
    cast("Any", ctx).render = adapter.render
    for name in ("gate", "remove"):
        setattr(ctx, name, lambda *_: None)
    cast("Any", ctx).client = lambda: SimpleNamespace(batch=lambda _: next(batches))
    assert judge_deleted(lifecycle.deleted(cast("Context", ctx))).verdict is Verdict.PASS
    (intent,) = applied
    assert isinstance(intent, carrier)
    assert not isinstance(adapter.render(intent), Unsupported)


def test_lc_03_counts_new_and_kept_connections_each_by_itself_and_what_hangs(monkeypatch: pytest.MonkeyPatch):
    away: list[bool] = []

    class Counting:
        """So many requests are due by each time it is finished."""

        def __init__(self, *due: int) -> None:
            self.due = iter(due)

        def finish(self) -> list[Record]:
            assert away == [True], "what hangs must not be waited for until the control plane is back"
            return [*[answer("server")] * (next(self.due) - 1), HUNG if self is fresh else answer("server")]

    kept, fresh = Counting(10, 170), Counting(8, 168)

    @contextlib.contextmanager
    def start(batch: Batch) -> Iterator[Counting]:
        yield fresh if batch.fresh else kept

    @contextlib.contextmanager
    def stopped(*_: object) -> Iterator[None]:
        away.append(True)
        yield
        away.clear()

    monkeypatch.setattr(wide, "stopped", stopped)
    monkeypatch.setattr(wide, "plane_of", lambda _: ("mesh", "plane"))
    monkeypatch.setattr(wide, "injecting", lambda *_: [])
    monkeypatch.setattr(wide, "planes", lambda _, where: (where,))
    monkeypatch.setattr(wide, "gated", lambda *_: {})
    monkeypatch.setattr(wide, "admitted", lambda *_: (Admitted("a pod", "", ("proxy",), ("proxy",)), None))
    clock = iter(range(100, 200))
    ctx = SimpleNamespace(
        adapter=None,
        kube=None,
        client=lambda: SimpleNamespace(start=start),
        url=lambda _: "http://server",
        now=lambda: float(next(clock)),
        watch=lambda probe, _: any(probe() for _ in range(9)),
    )
    found = wide.away(cast("Context", ctx))
    assert (found.kept.sent, found.kept.errors) == (160, ())
    assert (found.fresh.sent, found.fresh.errors) == (160, ("timeout",))
    assert found.seconds >= wide.AWAY
