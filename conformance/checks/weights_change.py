"""WT: weights change under traffic, soon and without an error; shares of gRPC calls, and of a backend without a pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from conformance.catalogue import check
from conformance.checks.weights import FRESH, GROUND, Split, Way, declare, drawn, judge_split, split
from conformance.checks.witness import witness
from conformance.context import LIMITS, Context
from conformance.model import Judgement, failed, inconclusive, passed, proven
from conformance.pulse import excused
from conformance.shut_gates import asked_anyway
from fixtures.workloads.batch import MAX_SECONDS
from fixtures.workloads.traffic import Batch, Job, Record
from reports.model import Evidence

__all__ = ["CONVERGES", "Entered", "Moving", "Turned", "judge_entered", "judge_moving", "judge_turned"]

CONVERGES = 5.0
"""Seconds within which a change of weights must be followed by every request."""
STALL = 1.0
"""A beat of the witness that took longer than this, seconds, says that the machine stood still."""
RATE = 150.0
SETTLED = 100
"""Answers in a row of the new backend alone that end the watch."""
STAGES = ({"v1": 90, "v2": 10}, {"v1": 10, "v2": 90}, {"v1": 50, "v2": 50}, {"v1": 0, "v2": 100})
EACH = 60
"""Requests that are seen under each of the weights."""
NAMES = ("v1", "v2")


def _said(record: Record) -> str:
    return str(record.version) if record.ok and record.version else f"error: {record.error or record.status}"


@dataclass(frozen=True)
class Moving:
    """Steady traffic while weights change, and after the last change, which leaves one backend."""

    stages: int
    during: tuple[str, ...]
    """By request: the version that answered, or `error: …`."""
    after: tuple[str, ...]


def _before_and_after(title: str, what: str, during: Counter[str], after: Counter[str]) -> Evidence:
    """Requests by who answered, until something was in force and from then on."""
    rows: list[dict[str, Any]] = [
        {"when": when, "answer": name, "requests": count}
        for when, counts in ((f"until {what} was in force", during), ("from then on", after))
        for name, count in sorted(counts.items())
    ]
    return Evidence(title, rows)


def judge_moving(history: Moving) -> Judgement:
    """Not one request fails or strays, and in the end the last weights hold."""
    during, after = Counter(history.during), Counter(history.after)
    title = f"answers while weights changed {history.stages - 1} times"
    evidence = _before_and_after(title, "the last change", during, after)
    if len(history.during) < EACH * (history.stages - 1) or len(history.after) < EACH:
        return inconclusive("too few requests were sent", evidence)
    if errors := sum(count for name, count in (during + after).items() if name.startswith("error")):
        return failed(f"{errors} requests failed while weights changed", evidence)
    if strays := sorted(set(during + after) - set(NAMES)):
        return proven(f"requests went to {', '.join(strays)}, which never had a share", evidence)
    if silent := [name for name in NAMES if not during[name]]:
        return failed(f"{', '.join(silent)} had a share and got nothing", evidence)
    if after["v1"]:
        return failed(f"{after['v1']} requests went to v1 after its share had gone", evidence)
    total = sum((during + after).values())
    return passed(f"{total} requests through {history.stages - 1} changes, no error", evidence)


def _steady(service: str, ctx: Context) -> Batch:
    return Batch(
        url=ctx.url(service),
        rate=RATE,
        shed=True,
        duration=min(3 * LIMITS.in_force * len(STAGES), MAX_SECONDS),
        concurrency=16,
        timeout=LIMITS.request,
        fields=("version",),
    )


def _seen(ctx: Context, job: Job, more: int, seen: list[Record]) -> float:
    """Let so many requests end that begin from now on. Returns when that was."""
    since = ctx.now()

    def enough() -> bool:
        seen.extend(job.records(len(seen)))
        return sum(one.sent > since for one in seen) >= more

    ctx.until(enough, f"{more} more requests", LIMITS.request)
    return since


def _parted(records: Sequence[Record], since: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who answered what was sent until then, and what was sent later."""
    early, late = [one for one in records if one.sent <= since], [one for one in records if one.sent > since]
    return tuple(map(_said, early)), tuple(map(_said, late))


@check(
    id="WT-03",
    title="Weights change under traffic without an error",
    proves=("weights",),
    judge=judge_moving,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/guides/traffic-splitting/",
)
def moving(ctx: Context) -> Moving:
    """Steady traffic through a few changes, each in force before the next."""
    first, *others = STAGES
    declare(ctx, "moving", first, "version")
    with ctx.client().start(_steady("moving", ctx)) as job:
        seen: list[Record] = []
        for weights in others:
            _seen(ctx, job, EACH, seen)
            declare(ctx, "moving", weights, "version")
        since = _seen(ctx, job, EACH, seen)
        whole = job.finish()
    return Moving(len(STAGES), *_parted(whole, since))


@dataclass(frozen=True)
class Entered:
    """Steady traffic to services that get their first routes, each to a version that no route named before."""

    routes: int
    during: tuple[str, ...]
    """By request, of all services: the version that answered, or `error: …`, until the service's route was in force."""
    after: tuple[str, ...]


def judge_entered(history: Entered) -> Judgement:
    """Not one request fails: no proxy gets a route before it knows the cluster that the route names."""
    during, after = Counter(history.during), Counter(history.after)
    title = f"answers while {history.routes} services got their first routes"
    evidence = _before_and_after(title, "the route", during, after)
    if len(history.during) < EACH * history.routes or not history.after or not during["v1"]:
        return inconclusive("too few requests were sent", evidence)
    if errors := sum(count for name, count in (during + after).items() if name.startswith("error")):
        return failed(f"{errors} requests failed when their service got its first route", evidence)
    if strays := sum(after.values()) - after["v2"]:
        return failed(f"{strays} requests did not follow the route that was in force", evidence)
    return passed(f"{sum((during + after).values())} requests while {history.routes} routes came, no error", evidence)


@check(
    id="WT-10",
    title="A first route takes over traffic without an error",
    proves=("weights", "make before break"),
    judge=judge_entered,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations",
)
def entered(ctx: Context) -> Entered:
    """Give one service after the other its first route under traffic. Its clusters come with it."""
    during, after = list[str](), list[str]()
    for service in FRESH:
        seen: list[Record] = []
        with ctx.client().start(_steady(service, ctx)) as job:
            _seen(ctx, job, EACH, seen)
            declare(ctx, service, {"v1": 0, "v2": 100}, "version")
            since = _seen(ctx, job, EACH // 3, seen)
            whole = job.finish()
        early, late = _parted(whole, since)
        during += early
        after += late
    return Entered(len(FRESH), tuple(during), tuple(after))


@dataclass(frozen=True)
class Turned:
    """All traffic is turned from one backend to another."""

    applied: float
    """When the change was sent to the API server, epoch seconds."""
    answers: tuple[tuple[float, str], ...]
    """When each request was sent, and who answered it."""
    settled: bool
    """Whether the new backend alone answered in the end."""
    bound: float = CONVERGES
    stall: float = 0.0
    """The longest beat of the witness from the change on, seconds."""

    @property
    def last_old(self) -> float:
        """Seconds from the change to the last request that the old backend answered."""
        return max((sent - self.applied for sent, name in self.answers if name == "v1"), default=0.0)


def judge_turned(history: Turned) -> Judgement:
    """The old backend gets its last request within the bound, and no request fails."""
    return excused(_turned(history), history.stall, STALL)


def _turned(history: Turned) -> Judgement:
    counts = Counter(name for sent, name in history.answers if sent >= history.applied)
    facts = {"last request to the old backend after s": round(history.last_old, 3), "bound s": history.bound}
    evidence = Evidence("from the change on", {**facts, **dict(sorted(counts.items()))})
    if not any(sent < history.applied and name == "v1" for sent, name in history.answers) or not counts:
        return inconclusive("too few requests were sent", evidence)
    if errors := sum(count for name, count in counts.items() if name.startswith("error")):
        return failed(f"{errors} requests failed while traffic was turned", evidence)
    if not history.settled or history.last_old > history.bound:
        return failed(f"the old backend still answered after {history.last_old:.2f} s, the bound is "
                      f"{history.bound:g} s", evidence)  # fmt: skip
    return passed(f"followed by every request after {1000 * history.last_old:.0f} ms", evidence)


@check(
    id="WT-07",
    title="A change of weights is followed soon",
    proves=("weights", "convergence"),
    judge=judge_turned,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/guides/traffic-splitting/",
)
def turned(ctx: Context) -> Turned:
    """From all to nothing, measured from the moment at which the change is sent to the API server."""
    declare(ctx, "turned", {"v1": 100, "v2": 0}, "version")
    seen: list[Record] = []
    with (
        witness(ctx, ctx.pod("web-v3")) as pulse,  # neither the old backend nor the new one
        ctx.client().start(_steady("turned", ctx)) as job,
    ):
        _seen(ctx, job, EACH, seen)
        applied = ctx.now()

        def settled() -> bool:
            seen.extend(job.records(len(seen)))
            return len(seen) > SETTLED and all(one.version == "v2" for one in seen[-SETTLED:])

        def watched() -> Turned:
            ctx.watch(settled, CONVERGES + 1.0)
            done = settled()
            answers = tuple((one.sent, _said(one)) for one in job.finish())
            ended = ctx.now()
            return Turned(applied, answers, done, stall=pulse(ended).stall(applied, ended))

        return asked_anyway(partial(declare, ctx, "turned", {"v1": 0, "v2": 100}, "version"), watched, judge_turned)


@check(
    id="WT-09",
    title="A canary's one percent is kept to two points",
    proves=("weights",),
    judge=judge_split,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/guides/traffic-splitting/",
)
def canary(ctx: Context) -> Split:
    """99 to 1: beside so small a share two points stand out after a thousand requests."""
    return split(ctx, "canary", {"v1": 99, "v2": 1}, by="version", way=Way(delta=0.02))


@check(
    id="WT-04",
    title="gRPC is split by call, not by connection",
    proves=("weights", "grpc routing"),
    judge=judge_split,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#grpcbackendref",
)
def calls(ctx: Context) -> Split:
    """Half and half over one connection: a mesh that balances connections sends all of its calls to one backend."""
    weights, way = {"v1": 50, "v2": 50}, Way("grpc", delta=0.1)
    gate = partial(declare, ctx, "calls", weights, "version", way)
    return asked_anyway(gate, partial(drawn, ctx, "calls", weights, way=way), judge_split)


def _or_nobody(record: Record) -> str:
    """A 503 of the mesh's own is the answer of the backend that has no endpoint."""
    return "none" if record.status == 503 and not record.version else _said(record)


@check(
    id="WT-06",
    title="A backend without endpoints is a 503 for its share alone",
    proves=("weights", "weights by service"),
    judge=judge_split,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref",
)
def hole(ctx: Context) -> Split:
    """Half and half between a backend and a service that selects no pod."""
    return split(ctx, "hole", {"v1": 50, "none": 50}, by="service", way=Way(delta=0.1, name=_or_nobody))
