"""LB: which host gets a request, and how soon the mesh follows hosts that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise

from conformance.catalogue import check, place
from conformance.checks.balancing_judges import (
    Arrival,
    Departure,
    Moved,
    Sticky,
    Turns,
    judge_arrival,
    judge_departure,
    judge_sticky,
    judge_turns,
    problem,
)
from conformance.checks.witness import witness
from conformance.context import LIMITS, Context
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.intents import Backend, EachRequest, InLocality, RoundRobin, StickyHeader
from fixtures.workloads.traffic import Batch, Job, Record

__all__ = ["GROUND", "MARKED"]

HERE, THERE = InLocality("region1", "zone1"), InLocality("region1", "zone2")

GROUND = place(
    Ground(
        name="lb",
        order=7,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client", intents=(HERE,)),
            Workload("second", "in", kind="client"),
            Workload("pool", "in", replicas=3, intents=(HERE,)),
            Workload("server", "in", app="pool", version="v2", intents=(THERE,)),
            Workload("moving", "in", replicas=2, probe="/"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            *(Svc(name, "in", "pool", ports=HTTP) for name in ("turns", "sticky", "placed", "doomed", "shares")),
            Svc("pool-v2", "in", "pool", "v2", ports=HTTP),
            Svc("moving", "in", "moving", ports=HTTP),
        ),
    )
)
MARKED = Backend("marked host", version="v2", service="pool-v2")
KEY = "x-meshproof-user"
VALUES, EACH = 24, 5
TURNS = 200
BOUND = 5.0
"""Seconds in which the mesh must follow a host that came or left. Idle machines take a tenth of a second."""
CONNECTIONS = 3
"""A balancer by latency holds 30 ms against a host that it does not know (Linkerd's `EWMA_DEFAULT_RTT`), and leaves it
out for 10 s where one request at a time is answered in less. So several are under way, and each takes longer."""
TAKES = "40ms"
RATE = 40.0
"""Requests a second, over all connections: each is in use for half of the time."""
LONGEST = 90.0


def hosts(ctx: Context) -> tuple[str, ...]:
    """The pods of the pool."""
    return tuple(sorted(one.name for name in ("pool", "server") for one in ctx.pods(name)))


@check(
    id="LB-01",
    title="Round robin gives hosts their turns",
    proves=("load balancing", "round robin"),
    judge=judge_turns,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers",
)
def turns(ctx: Context) -> Turns:
    """Requests one after the other over one connection of the client."""
    marker = ctx.marker(MARKED)
    ctx.apply(RoundRobin(ctx.space("in"), "turns", 8080, marker))
    ctx.gate("turns", marker)
    sent = ctx.client().batch(Batch(url=ctx.url("turns"), count=TURNS, timeout=LIMITS.request, fields=("pod",)))
    return Turns(hosts(ctx), tuple(one.pod or "" for one in sent), _late(sent))


@check(
    id="LB-02",
    title="Consistent hashing sends equal requests to one host",
    proves=("load balancing", "consistent hash"),
    judge=judge_sticky,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers",
)
def sticky(ctx: Context) -> Sticky:
    """Requests with values of the header, each on a connection of its own."""
    marker = ctx.marker(MARKED)
    ctx.apply(StickyHeader(ctx.space("in"), "sticky", 8080, KEY, marker))
    ctx.gate("sticky", marker)
    batch = Batch(url=ctx.url("sticky"), count=EACH, timeout=LIMITS.request, fresh=True, fields=("pod",))
    values = [f"user-{number}" for number in range(VALUES)]
    answers = ctx.client().batches([replace(batch, headers={KEY: value}) for value in values])
    found = {value: tuple(one.pod or "" for one in sent) for value, sent in zip(values, answers, strict=True)}
    return Sticky(hosts(ctx), found, sum(map(_late, answers)))


def _late(records: Sequence[Record]) -> int:
    return sum(one.error == "timeout" for one in records)


# -- hosts that come and go --------------------------------------------------------------------------------------------


def named(ctx: Context) -> set[str]:
    """The pods that the slices of the service name as ready."""
    slices = ctx.kube.list("discovery.k8s.io/v1", "EndpointSlice", ctx.space("in"), "kubernetes.io/service-name=moving")
    return {
        str(item.get("targetRef", {}).get("name", ""))
        for one in slices
        for item in one.get("endpoints") or ()
        if item.get("conditions", {}).get("ready") is not False
    }


def _scale(ctx: Context, count: int) -> None:
    """Have so many pods of the service, and no other that it could name."""
    space = ctx.space("in")
    ctx.kube.patch("apps/v1", "Deployment", "moving", {"spec": {"replicas": count}}, space)
    ctx.until(
        lambda: len(ctx.kube.list("v1", "Pod", space, "app=moving")) == count == len(named(ctx)),
        f"the service names {count} hosts",
        LIMITS.ground_ready,
    )


class _Streams:
    """Jobs that each keep one connection, and their records so far."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = tuple(jobs)
        self._by_job: list[list[Record]] = [[] for _ in jobs]

    @property
    def seen(self) -> list[Record]:
        """The records of all."""
        return [one for stream in self._by_job for one in stream]

    def first(self) -> list[Record]:
        """The records of the first job, what is new included: one order, for the others go on alike."""
        return self._take(0)

    def collect(self) -> None:
        """Take in what is new of all."""
        for index in range(len(self._jobs)):
            self._take(index)

    def _take(self, index: int) -> list[Record]:
        stream = self._by_job[index]
        stream.extend(self._jobs[index].records(len(stream)))
        return stream

    def moves(self) -> bool:
        """Whether the first job's requests were moved from host to host yet: one order."""
        self.first()
        return any(self.moves_to(host) for host in {one.pod for one in self._by_job[0]} if host)

    def moves_to(self, host: str) -> list[float]:
        """When requests were sent that a host answered on a connection on which another had answered the one before.

        Without a mesh a kept connection stays with its host, and a new one may meet any host.
        """
        pairs = (pair for stream in self._by_job for pair in pairwise(stream))
        return sorted(
            one.sent
            for last, one in pairs
            if one.pod == host and not one.fresh and last.pod is not None and last.pod != host
        )


@contextmanager
def _steady(ctx: Context) -> Iterator[_Streams]:
    """Requests one after the other on each of a few connections that the client keeps: only a mesh moves those.

    A host answers them with 200 though it fails its probe: whether it is asked is the question, and after an error a
    mesh may ask another host, or take it out for the error.
    """
    batch = Batch(
        url=ctx.url("moving", path=f"/?codes=200&delay={TAKES}"),
        rate=RATE / CONNECTIONS,
        shed=True,
        duration=LONGEST,
        concurrency=1,
        timeout=LIMITS.probe,
        fields=("pod",),
    )
    with ExitStack() as jobs:
        yield _Streams([jobs.enter_context(ctx.client().start(batch)) for _ in range(CONNECTIONS)])


def _by_request(ctx: Context) -> EachRequest:
    return EachRequest(ctx.space("in"), "moving", 8080)


def _underway(ctx: Context, streams: _Streams, seconds: float) -> None:
    """Wait for so many seconds' requests, and before that, where a mesh had to be told to move them, until it does."""
    before = 0
    if ctx.render(_by_request(ctx)).objects:
        ctx.watch(streams.moves, LIMITS.in_force)
        before = len(streams.first())
    enough = before + seconds * RATE / CONNECTIONS
    ctx.until(lambda: len(streams.first()) >= enough, "requests are sent", LIMITS.in_force)


@check(
    id="LB-04",
    title="A new host is used within a bound",
    proves=("load balancing", "endpoint discovery"),
    judge=judge_arrival,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions",
)
def arrival(ctx: Context) -> Arrival:
    """Scale a service up under steady requests over connections that the client keeps."""
    ctx.apply(_by_request(ctx))
    _scale(ctx, 2)  # whatever the checks before left
    before = named(ctx)
    with (
        witness(ctx, ctx.pod("server")) as pulse,
        _steady(ctx) as streams,
    ):
        _underway(ctx, streams, 1.0)
        began = ctx.now()
        _scale(ctx, 3)
        ready = ctx.now()
        host = next(iter(named(ctx) - before), "")
        ctx.watch(lambda: any(one.sent > ready + BOUND for one in streams.first()), BOUND + LIMITS.probe + 2.0)
        ended = ctx.now()
        streams.collect()
        stall = pulse(ended).stall(began, ended)
    return Arrival(
        host=host,
        ready=ready,
        bound=BOUND,
        first=next(iter(streams.moves_to(host)), None),
        after=sum(one.sent > ready + BOUND for one in streams.seen),
        errors=tuple(problem(one) for one in streams.seen if problem(one)),
        queued=sum(one.queued for one in streams.seen),
        stall=stall,
    )


@check(
    id="LB-05",
    title="A host that left its service gets nothing after a bound",
    proves=("load balancing", "endpoint discovery"),
    judge=judge_departure,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions",
)
def departure(ctx: Context) -> Departure:
    """One host loses the service's label, one is not ready any more; both go on running and would answer."""
    space = ctx.space("in")
    ctx.apply(_by_request(ctx))
    _scale(ctx, 3)
    unlabelled, unready, _ = (one for one in _moving(ctx))
    with (
        witness(ctx, ctx.pod("server")) as pulse,
        _steady(ctx) as streams,
    ):
        _underway(ctx, streams, 3.0)
        left = ctx.now()
        try:
            ctx.kube.patch("v1", "Pod", unlabelled, {"metadata": {"labels": {"app": "left"}}}, space)
            ctx.behave(ctx.pod_named(unready, "in"), codes="503:100")
            ctx.until(
                lambda: not named(ctx) & {unlabelled, unready}, "the service stops naming them", LIMITS.ground_ready
            )
            gone = ctx.now()
            last = gone + BOUND + 3.0
            ctx.watch(lambda: any(one.sent > last for one in streams.first()), last - ctx.now() + LIMITS.probe)
            ended = ctx.now()
            streams.collect()
            stall = pulse(ended).stall(left, ended)
        finally:
            # Both are the deployment's still: LB-04 needs each of its pods to be one that the service names.
            ctx.kube.patch("v1", "Pod", unlabelled, {"metadata": {"labels": {"app": "moving"}}}, space)
            ctx.behave(ctx.pod_named(unready, "in"), codes="")
    later = [one for one in streams.seen if one.sent > gone + BOUND]

    def moved(host: str, how: str) -> Moved:
        before = sum(at < left for at in streams.moves_to(host))
        return Moved(host, how, gone, before, sum(one.pod == host for one in later))

    return Departure(
        bound=BOUND,
        left=(moved(unlabelled, "lost its label"), moved(unready, "is not ready")),
        after=len(later),
        errors=tuple(problem(one) for one in later if problem(one)),
        queued=sum(one.queued for one in later),
        stall=stall,
    )


def _moving(ctx: Context) -> list[str]:
    return sorted(named(ctx))
