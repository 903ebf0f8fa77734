"""A request that hangs has no record before it has run out of time: what is judged is complete all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import Rendered
from conformance.arrivals import Arrivals
from conformance.checks import circuit, upheaval, weights_change
from conformance.checks.authority import Look
from conformance.checks.ejection_judges import (
    judge_ejected,
    judge_healthy_unaffected,
    judge_nothing_while_ejected,
    judge_returns,
)
from conformance.checks.flips import KEPT, TURNS, flips, judge_flips
from conformance.checks.peers_judges import Arm
from conformance.checks.upheaval_judges import judge_renewal, judge_rotation
from conformance.checks.weights_change import (
    entered,
    judge_entered,
    judge_moving,
    judge_turned,
    moving,
    turned,
)
from conformance.context import Context, Pod
from conformance.intents import Mode, MtlsMode
from conformance.model import Judgement
from conformance.pulse import STEADY
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

BEGIN = 1000.0
TAKES = 0.002
"""Seconds in which a request is answered that does not hang."""


class _Job:
    """An open loop that leaves out what falls due while all of its workers wait."""

    def __init__(self, mesh: _Mesh, batch: Batch) -> None:
        self.mesh, self.batch, self.began = mesh, batch, mesh.time
        self.due = 0
        self.ended: list[Record] = []
        self.waiting: list[Record] = []
        """What hangs, by what it will come to."""

    def records(self, since: int = 0) -> list[Record]:
        assert self.batch.rate is not None
        while (at := self.began + self.due / self.batch.rate) < self.mesh.time:
            self.due += 1
            busy = [one for one in self.waiting if one.start + one.seconds > at]
            if len(busy) == self.batch.concurrency:
                continue
            found = self.mesh.answer(self.batch, at)
            (self.ended if found.seconds < 1.0 else self.waiting).append(found)
        return self.ended[since:]

    def finish(self) -> list[Record]:
        self.records()
        return sorted([*self.ended, *self.waiting], key=lambda one: one.start)


class _Mesh:
    """A cluster whose only clock is this one; from `hangs` on no new connection is answered for so many seconds."""

    def __init__(self, hangs: float | None = None, seconds: float = 10.0) -> None:
        self.time, self.hangs, self.seconds = BEGIN, hangs, seconds
        self.kube: Any = None
        self.modes: list[Mode] = []

    def answer(self, batch: Batch, at: float) -> Record:
        hangs = self.hangs is not None and at >= BEGIN + self.hangs and batch.fresh
        if hangs and self.seconds >= batch.timeout:
            return Record(at, batch.timeout, error="timeout", fresh=True)
        return Record(at, self.seconds if hangs else TAKES, 200, fresh=batch.fresh, reply={"pod": "a"})

    def now(self) -> float:
        return self.time

    def space(self, place: str) -> str:
        return place

    def url(self, service: str, *_: object, **__: object) -> str:
        return f"http://{service}/"

    def pod(self, name: str) -> str:
        return name

    def render(self, _: object) -> Rendered:
        return Rendered()

    def remove(self, *_: object) -> None: ...

    def apply(self, intent: MtlsMode) -> None:
        self.modes.append(intent.mode)

    def watch(self, probe: Callable[[], bool], timeout: float) -> None:
        end = self.time + timeout
        self.time += 1.0
        while not probe() and self.time < end:
            self.time += 0.1

    def until(self, probe: Callable[[], bool], what: str, timeout: float) -> None:
        self.watch(probe, timeout)
        assert probe(), what

    def client(self) -> Any:
        @contextlib.contextmanager
        def start(batch: Batch) -> Iterator[_Job]:
            yield _Job(self, batch)

        return SimpleNamespace(start=start)

    def outsider(self) -> Any:
        taken = Record(self.time, TAKES, 200, reply={"pod": "a"})
        refused = Record(self.time, TAKES, error="reset")
        return SimpleNamespace(batch=lambda one: [taken if self.modes[-1] is Mode.PERMISSIVE else refused] * one.total)


def looks(ctx: Any, _: object) -> Look:
    """A server whose certificate is renewed seven seconds after its issue, and is good for fifteen."""
    turn = (ctx.time - BEGIN) // 7
    end = datetime.fromtimestamp(BEGIN + 7 * turn + upheaval.LIFETIME, UTC)
    return Look(ctx.time, cast("Any", SimpleNamespace(serial_number=int(turn), not_valid_after_utc=end)), "")


@pytest.fixture
def rotating(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mesh that renews certificates in time, and replaces its root within three seconds when it is asked to."""

    def roots(ctx: Any) -> tuple[str, ...]:
        return ("old",) if ctx.time < BEGIN + 3 else ("new",)

    def arm(_ctx: object, name: str, _credentials: object, *, welcome: bool) -> Arm:
        return Arm(name, welcome, 20, 20 if welcome else 0, 20 if welcome else 0, {} if welcome else {"tls": 20})

    monkeypatch.setattr(upheaval, "_roots", roots)
    monkeypatch.setattr(upheaval, "_client", lambda _: "client")
    monkeypatch.setattr(upheaval, "obtain", lambda *_: None)
    monkeypatch.setattr(upheaval, "_by_certificate", arm)
    monkeypatch.setattr(upheaval, "look", looks)
    monkeypatch.setattr(upheaval, "time", SimpleNamespace(monotonic=lambda: 0.0))


HANGING = [
    pytest.param(_Mesh, Verdict.PASS, id="sound"),
    pytest.param(lambda: _Mesh(hangs=3.5), Verdict.FAIL, id="hangs at last"),
    pytest.param(lambda: _Mesh(hangs=1.5, seconds=9.0), Verdict.INCONCLUSIVE, id="hangs and is served"),
]


@pytest.mark.parametrize(("made", "verdict"), HANGING)
def test_mtls_08_counts_what_hangs_and_asks_in_every_turn(made: Callable[[], _Mesh], verdict: Verdict) -> None:
    found = flips(cast("Context", made()))
    assert judge_flips(found).verdict is verdict
    assert len(found.turns) == len(found.asked) == len(TURNS)
    assert (0 in found.asked) is (verdict is not Verdict.PASS)
    assert found.loads[1].problem == ""
    assert found.loads[1].most_connections == KEPT


@pytest.mark.usefixtures("rotating")
@pytest.mark.parametrize(("made", "verdict"), HANGING)
def test_id_02_counts_what_hangs_and_what_was_due(made: Callable[[], _Mesh], verdict: Verdict) -> None:
    found = upheaval.renewal(cast("Context", made()))
    assert judge_renewal(found).verdict is verdict


@pytest.mark.usefixtures("rotating")
@pytest.mark.parametrize(("made", "verdict"), HANGING)
def test_id_03_counts_what_hangs_and_what_was_due(made: Callable[[], _Mesh], verdict: Verdict) -> None:
    found = upheaval.rotation(cast("Context", made()))
    assert judge_rotation(found).verdict is verdict


class _Split(_Mesh):
    """A service whose requests its versions get in turns; from `hangs` on one of forty hangs."""

    def __init__(self, hangs: float | None = None) -> None:
        super().__init__(hangs)
        self.turns = count()
        self.versions: list[str] = ["v1", "v2", "v3"]

    def answer(self, batch: Batch, at: float) -> Record:
        turn = next(self.turns)
        if self.hangs is not None and at >= BEGIN + self.hangs and turn % 40 == 0:
            return Record(at, batch.timeout, error="timeout")
        return Record(at, TAKES, 200, reply={"version": self.versions[turn % len(self.versions)]})


@pytest.fixture
def weighted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are in force as soon as they are declared, and each new service begins without any."""

    def declare(ctx: Any, _service: str, weights: Mapping[str, int], *_: object) -> None:
        ctx.versions = [name for name, weight in weights.items() if weight]

    def steady(service: str, ctx: Any) -> Batch:
        ctx.versions = ctx.versions if service in {"moving", "turned"} else ["v1", "v2", "v3"]
        return started(service, ctx)

    started = weights_change._steady
    monkeypatch.setattr(weights_change, "declare", declare)
    monkeypatch.setattr(weights_change, "_steady", steady)
    monkeypatch.setattr(weights_change, "witness", lambda *_: contextlib.nullcontext(lambda _: STEADY))


@pytest.mark.usefixtures("weighted")
@pytest.mark.parametrize(
    ("collect", "judge"), [(moving, judge_moving), (entered, judge_entered), (turned, judge_turned)]
)
@pytest.mark.parametrize(("hangs", "verdict"), [(None, Verdict.PASS), (1.2, Verdict.FAIL)])
def test_wt_03_07_and_10_count_what_hangs(
    collect: Callable[[Context], Any], judge: Callable[[Any], Judgement], hangs: float | None, verdict: Verdict
) -> None:
    judged = judge(collect(cast("Context", _Split(hangs))))
    assert judged.verdict is verdict
    assert hangs is None or "requests failed" in judged.reason


class _Hosts(_Split):
    """Three hosts that get requests in turns, but for one that is ejected; from `hangs` on one of forty hangs."""

    def __init__(self, hangs: float | None = None) -> None:
        super().__init__(hangs)
        self.fails = self.back = 0.0
        self.picks = count()
        self.came: list[float] = []
        self.errors = 0

    def answer(self, batch: Batch, at: float) -> Record:
        found = super().answer(batch, at)
        hosts = "abc" if at >= self.back else "ab"
        host = hosts[next(self.picks) % len(hosts)]
        if found.error or host != "c":
            return replace(found, reply=found.reply and {"pod": host})
        self.came.append(at)
        failing = at < self.fails
        self.errors += failing
        if failing and self.errors == circuit.CONSECUTIVE:
            self.back = at + circuit.EJECTION + 0.2
        return replace(found, status=500 if failing else 200, reply={"pod": host})

    def behave(self, _: object, *, codes: str, lasts: str = "0s") -> None:
        self.fails = self.time + float(lasts[:-1]) if codes else 0.0

    def pods(self, workload: str) -> list[Pod]:
        return [Pod(name, "in", "10.0.0.9", {}) for name in {"steady": "ab", "faulty": "c"}[workload]]

    def pod(self, name: str) -> Any:
        return self.pods(name)[0]

    def arrivals(self, _: object) -> Arrivals:
        return Arrivals(self.time, self.time, 60.0, tuple(self.time - at for at in self.came))

    def apply(self, *_: object) -> None: ...

    def marker(self, _: object) -> None: ...

    def gate(self, *_: object) -> None: ...


@pytest.mark.parametrize("hangs", [None, 2.5])
def test_cb_02_and_07_count_what_hangs(monkeypatch: pytest.MonkeyPatch, hangs: float | None) -> None:
    monkeypatch.setattr(circuit, "witness", lambda *_: contextlib.nullcontext(lambda _: STEADY))
    found = circuit.episode(cast("Context", _Hosts(hangs)))
    assert judge_ejected(found).verdict is judge_returns(found).verdict is Verdict.PASS
    for judge in (judge_nothing_while_ejected, judge_healthy_unaffected):
        assert judge(found).verdict is (Verdict.FAIL if hangs else Verdict.PASS)
