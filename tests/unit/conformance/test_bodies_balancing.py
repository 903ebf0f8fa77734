"""What LB-03 to LB-05 collect of meshes made by hand, in a time of their own: sound, slow, and with hidden faults."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from conformance.adapters import Rendered
from conformance.checks.balancing import arrival, departure
from conformance.checks.balancing_judges import judge_arrival, judge_departure
from conformance.checks.failover import failover
from conformance.checks.failover_judges import judge_failover
from conformance.context import Context, Pod
from conformance.intents import EachRequest
from conformance.pulse import STEADY
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

ANSWERED = 0.002
"""Seconds in which a request is answered."""


class _Request(NamedTuple):
    at: float
    url: str
    last: str
    """The host that answered the one before on its connection."""


class _Mesh:
    """A cluster whose only clock is this one, and a mesh that picks a host for each request."""

    def __init__(self, order: float = 0.01) -> None:
        self.time, self.order = 1000.0, order
        self.codes: dict[str, tuple[str, float | None]] = {}
        """Host -> the codes with which it answers, and for how many seconds from its first answer on."""
        self.turns = count()
        self.kube: Any = self

    def now(self) -> float:
        return self.time

    def space(self, place: str) -> str:
        return place

    def url(self, service: str, path: str = "/") -> str:
        return f"http://{service}{path}"

    def marker(self, _: object) -> str:
        return "mark"

    def apply(self, *_: object) -> None:
        """Everything is in force."""

    def render(self, _: object) -> Rendered:
        """Nobody has to be told."""
        return Rendered()

    def gate(self, *_: object) -> None:
        """The same."""

    def pod_named(self, name: str, place: str) -> Pod:
        return Pod(name, place, "10.0.0.9", {})

    def pods(self, workload: str) -> list[Pod]:
        return [self.pod_named(name, "in") for name in {"pool": "abc", "server": "d"}[workload]]

    def pod(self, workload: str) -> Pod:
        return self.pods(workload)[0]

    def outsider(self) -> str:
        return "outsider"

    @contextlib.contextmanager
    def pulse(self, *_: object) -> Iterator[Callable[[float], object]]:
        yield lambda _: STEADY

    def behave(self, pod: Pod, codes: str, lasts: str = "") -> None:
        self.time += self.order
        self.codes.pop(pod.name, None)
        if codes:
            self.codes[pod.name] = (codes, float(lasts[:-1]) if lasts else None)

    def until(self, probe: Callable[[], bool], what: str, timeout: float) -> None:
        assert self._wait(probe, timeout), what

    def watch(self, probe: Callable[[], bool], timeout: float) -> None:
        self._wait(probe, timeout)

    def _wait(self, probe: Callable[[], bool], timeout: float) -> bool:
        end = self.time + timeout
        while not probe():
            if self.time >= end:
                return False
            self.time += 0.1
        return True

    def client(self) -> Any:
        return SimpleNamespace(batch=self.batch, start=self.start)

    def batch(self, batch: Batch) -> list[Record]:
        with self.start(batch) as job:
            self.time += batch.duration or (batch.count or 0) * ANSWERED
            found: list[Record] = job.records(0)
        return found

    @contextlib.contextmanager
    def start(self, batch: Batch) -> Iterator[Any]:
        self.time += self.order
        began, sent = self.time, cast("list[Record]", [])
        pace = 1 / batch.rate if batch.rate else ANSWERED

        def records(since: int) -> list[Record]:
            while began + len(sent) * pace < self.time and len(sent) != batch.count:
                at = began + len(sent) * pace
                last = sent[-1].pod if sent else None
                sent.append(self.answer(_Request(at, batch.url, last or "")))
            return sent[since:]

        yield SimpleNamespace(records=records)

    def answer(self, asked: _Request) -> Record:
        host = self.pick(asked)
        return Record(asked.at, ANSWERED / 2, status=self.status(host, asked), reply={"pod": host})

    def status(self, host: str, asked: _Request) -> int:
        """What a host answers, by what the request asks for or else by what it was told."""
        codes, lasts = self.codes.get(host, ("200", None))
        if lasts is not None:
            codes, until = codes.partition("@")[::2]
            until = until or str(asked.at + lasts)
            self.codes[host] = (f"{codes}@{until}", lasts)
            codes = codes if asked.at < float(until) else "200"
        return 200 if "codes=200" in asked.url else int(codes[:3])

    def pick(self, asked: _Request) -> str:
        raise NotImplementedError


class _Zones(_Mesh):
    """Hosts of the own zone in turns, unless they are ejected; and how long the mesh takes to follow."""

    def __init__(self, order: float, *, stands_in: bool = True) -> None:
        super().__init__(order)
        self.stands_in = stands_in
        self.errors: dict[str, int] = {}
        self.ejected: dict[str, float] = {}

    def pick(self, asked: _Request) -> str:
        near = [host for host in "abc" if self.ejected.get(host, 0.0) <= asked.at]
        return near[next(self.turns) % len(near)] if near else "d"

    def status(self, host: str, asked: _Request) -> int:
        status = super().status(host, asked)
        self.errors[host] = self.errors.get(host, 0) + 1 if status == 500 else 0
        if self.errors[host] >= 3 and self.stands_in:
            self.ejected[host], self.errors[host] = asked.at + 4.1, 0
        return status


@pytest.mark.parametrize("order", [0.01, 1.0, 3.0])
def test_lb_03_needs_no_quick_orders(order: float) -> None:
    ctx = _Zones(order)
    found = failover(cast("Context", ctx))
    assert judge_failover(found).verdict is Verdict.PASS
    assert len(found.meanwhile) >= 150
    assert ctx.codes == {}
    nobody = failover(cast("Context", _Zones(order, stands_in=False)))
    assert judge_failover(nobody).verdict is Verdict.FAIL


class _Service(_Mesh):
    """A service whose hosts come and go, and a mesh that takes turns over those that it knows."""

    def __init__(self, *, readiness: bool = True, retries: bool = False, mesh: bool = True) -> None:
        super().__init__()
        self.readiness, self.retries, self.mesh = readiness, retries, mesh
        self.replicas = 2
        self.left: set[str] = set()

    @property
    def labelled(self) -> list[str]:
        return [host for host in "xyz"[: self.replicas] if host not in self.left]

    def patch(self, _: str, kind: str, name: str, body: dict[str, Any], __: str) -> None:
        if kind == "Deployment":
            self.replicas = body["spec"]["replicas"]
        else:
            (self.left.discard if body["metadata"]["labels"]["app"] == "moving" else self.left.add)(name)

    def list(self, _: str, kind: str, *__: str) -> list[dict[str, Any]]:
        if kind == "Pod":
            return [{}] * len(self.labelled)
        return [{"endpoints": [
            {"targetRef": {"name": host}, "conditions": {"ready": host not in self.codes}} for host in self.labelled
        ]}]  # fmt: skip

    def pick(self, asked: _Request) -> str:
        known = [host for host in self.labelled if not self.readiness or host not in self.codes]
        if not self.mesh and asked.last:
            return asked.last  # the connection is kept
        return known[next(self.turns) % len(known)]

    def answer(self, asked: _Request) -> Record:
        found = super().answer(asked)
        while self.retries and found.status == 503:
            found = super().answer(asked)
        return found


@pytest.mark.parametrize(
    ("mesh", "verdict"),
    [
        (_Service(), Verdict.PASS),
        (_Service(readiness=False), Verdict.FAIL),
        (_Service(readiness=False, retries=True), Verdict.FAIL),  # what it wrongly asks, it asks again elsewhere
        (_Service(mesh=False), Verdict.FAIL),
    ],
)
def test_lb_05_sees_a_host_that_is_asked_although_it_is_not_ready(mesh: _Service, verdict: Verdict) -> None:
    assert judge_departure(departure(cast("Context", mesh))).verdict is verdict
    assert mesh.codes == {}
    assert mesh.left == set()


@pytest.mark.parametrize(("mesh", "verdict"), [(True, Verdict.PASS), (False, Verdict.FAIL)])
def test_lb_04_counts_moves_on_each_connection_of_its_own(mesh: bool, verdict: Verdict) -> None:
    found = arrival(cast("Context", _Service(mesh=mesh)))
    assert judge_arrival(found).verdict is verdict
    assert found.host == "z"


class _ByLatency(_Service):
    """Of two other hosts the quicker one gets the next request; a new one is held to take 30 ms, as Linkerd holds."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: dict[str, float] = {}

    def answer(self, asked: _Request) -> Record:
        takes = 0.04 if "delay=40ms" in asked.url else 0.001
        others = [host for host in self.labelled if host != asked.last]
        host = min(others, key=lambda one: self.takes.get(one, 0.03))
        self.takes[host] = takes
        return Record(asked.at, takes, status=200, reply={"pod": host})


class _Told(_Service):
    """A mesh that chooses a host for each request some seconds after it was told to, and for a connection before."""

    def __init__(self, late: float) -> None:
        super().__init__(mesh=False)
        self.late, self.since = late, math.inf

    def render(self, _: object) -> Rendered:
        return Rendered(objects=({"kind": "HTTPRoute"},))

    def apply(self, *intents: object) -> None:
        assert intents == (EachRequest("in", "moving", 8080),)
        self.since = min(self.since, self.time + self.late)

    def pick(self, asked: _Request) -> str:
        self.mesh = asked.at >= self.since
        return super().pick(asked)


@pytest.mark.parametrize(("late", "verdict"), [(4.0, Verdict.PASS), (60.0, Verdict.FAIL)])
def test_a_mesh_that_has_to_be_told_to_look_at_requests_is_judged_once_it_does(late: float, verdict: Verdict) -> None:
    assert judge_arrival(arrival(cast("Context", _Told(late)))).verdict is verdict
    assert judge_departure(departure(cast("Context", _Told(late)))).verdict is verdict


def test_lb_04_holds_no_first_guess_of_a_new_hosts_latency_against_a_mesh() -> None:
    assert judge_arrival(arrival(cast("Context", _ByLatency()))).verdict is Verdict.PASS
