"""WT: routing weights hold, each request drawn on its own.

Shares are judged by a sequential exact test (`conformance.statistics.Sprt`): it asks for more requests until the
history decides, so that a correct mesh is told from one that is five points off at a third of the traffic of a fixed
plan. The route's own marker shows that it is in force before the first judged request is sent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from conformance.catalogue import check, place
from conformance.context import LIMITS, Context
from conformance.gates import Gate
from conformance.ground import HTTP, HTTP_AND_GRPC, Ground, Place, Svc, Workload
from conformance.intents import Backend, WeightedRoute
from conformance.model import Judgement, failed, inconclusive, passed, proven, share_rates
from conformance.stalls import few_late
from conformance.statistics import (
    Decision,
    never_seen_samples,
    next_samples,
    share_tests,
    shares_decision,
    surely_rejected,
)
from fixtures.workloads.manifests import PORTS
from fixtures.workloads.traffic import Batch, Record
from reports.model import Evidence

__all__ = [
    "FRESH",
    "GROUND",
    "NOBODY",
    "Split",
    "Way",
    "declare",
    "drawn",
    "judge_nothing_else",
    "judge_split",
    "split",
]

FRESH = tuple(f"fresh-{number}" for number in range(1, 6))
"""Services that have no route at first."""
GROUND = place(
    Ground(
        name="wt",
        order=2,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("web-v1", "in", app="web", version="v1"),
            Workload("web-v2", "in", app="web", version="v2"),
            Workload("web-v3", "in", app="web", version="v3"),
            Workload("outsider", "out", kind="client"),
        ),
        # One service a check: each has a route of its own, over the same pods.
        services=(
            *(
                Svc(name, "in", "web", ports=HTTP)
                for name in ("two", "zero", "three", "within", "hole", "moving", "turned", "canary", *FRESH)
            ),
            Svc("calls", "in", "web", ports=HTTP_AND_GRPC),
            *(Svc(f"web-{version}", "in", "web", version, ports=HTTP_AND_GRPC) for version in ("v1", "v2", "v3")),
            Svc("web-none", "in", "nobody", ports=HTTP),
        ),
        server="web-v1",
    )
)

NOBODY = Backend("none", version="none", service="web-none")
"""A service that selects no pod."""
VERSIONS = tuple(Backend(version, version=version, service=f"web-{version}") for version in ("v1", "v2", "v3"))
BATCH, WORKERS = 400, 32
LATE = "error: timeout"
_WIRES = {"http": "http1", "grpc": "grpc"}
DELTA = 0.05
"""A share that is off by this much is found but for `BETA`."""
BETA = 1e-3
RARE = 0.01
"""Something that gets this share of the requests is seen at least once but for `BETA`."""


@dataclass(frozen=True)
class Split:
    """What was declared, and which backend answered each request."""

    declared: Mapping[str, int]
    answers: tuple[str, ...]
    """By request: the version that answered, or `error: …`."""
    alpha: float
    delta: float = DELTA
    beta: float = BETA
    rare: float = RARE

    @property
    def counts(self) -> Counter[str]:
        """Answers by backend or error."""
        return Counter(self.answers)

    @property
    def errors(self) -> dict[str, int]:
        """How requests ended that no backend answered, with counts; without the late ones where those are few."""
        return {
            name.removeprefix("error: "): count
            for name, count in self.counts.items()
            if name.startswith("error") and (name != LATE or not self.late)
        }

    @property
    def late(self) -> int:
        """Requests that ran into the client's timeout, where those are few."""
        return few_late(self.counts[LATE], len(self.answers))

    @property
    def stray(self) -> dict[str, int]:
        """Answers of backends with no share."""
        return {
            name: count
            for name, count in self.counts.items()
            if not name.startswith("error") and not self.declared.get(name)
        }

    @property
    def shares(self) -> dict[str, int]:
        """The backends with a share."""
        return {name: weight for name, weight in self.declared.items() if weight}

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        whole, total = sum(self.declared.values()), len(self.answers)
        names = [*self.declared, *(name for name in self.counts if name not in self.declared)]
        return Evidence(
            "answers by backend",
            [
                {
                    "backend": name,
                    "declared %": round(100 * self.declared.get(name, 0) / whole, 1),
                    "seen %": round(100 * self.counts[name] / total, 2) if total else None,
                    "answers": self.counts[name],
                    "requests": total,
                }
                for name in names
            ],
        )


def _name(record: Record) -> str:
    if record.ok and record.version:
        return str(record.version)
    return f"error: {record.error or record.status}"


@dataclass(frozen=True)
class Way:
    """How requests of a split are sent, and how their answers are named."""

    protocol: Literal["http", "grpc"] = "http"
    delta: float = DELTA
    name: Callable[[Record], str] = _name


def declare(
    ctx: Context, service: str, weights: Mapping[str, int], by: Literal["version", "service"], way: Way | None = None
) -> None:
    """Declare weights, and wait for the route's mark."""
    protocol = (way or Way()).protocol
    port = PORTS[protocol]
    backends = {one.name: one for one in (*VERSIONS, NOBODY)}
    marker = ctx.marker(backends["v3"])
    declared = tuple((backends[name], weight) for name, weight in weights.items())
    ctx.apply(WeightedRoute(ctx.space("in"), service, port, declared, marker, by, protocol))
    ctx.gate(service, marker, Gate(port, _WIRES[protocol]))


def split(
    ctx: Context,
    service: str,
    weights: Mapping[str, int],
    *,
    by: Literal["version", "service"],
    samples: int = 0,
    way: Way | None = None,
) -> Split:
    """Declare weights, wait for the route's mark, then send requests as `drawn` does."""
    declare(ctx, service, weights, by, way)
    return drawn(ctx, service, weights, samples=samples, way=way)


def drawn(ctx: Context, service: str, weights: Mapping[str, int], *, samples: int = 0, way: Way | None = None) -> Split:
    """Requests to a service: `samples`, or until the shares are decided."""
    way = way or Way()
    positive = {name: weight for name, weight in weights.items() if weight}
    tests = share_tests(positive, delta=way.delta, alpha=ctx.alpha, beta=BETA)
    most = samples or max(test.most_samples for test in tests.values())
    answers: list[str] = []
    while len(answers) < most:
        counts = Counter(answers)
        count = BATCH if samples else next_samples(tests, counts, sum(counts[name] for name in positive))
        if not count:
            break
        batch = Batch(
            url=ctx.url(service, PORTS[way.protocol]),
            protocol=_WIRES[way.protocol],
            count=min(count, most - len(answers)),
            concurrency=WORKERS,
            streams=WORKERS if way.protocol == "grpc" else 1,
            timeout=LIMITS.request,
            fields=("version",),
        )
        answers.extend(map(way.name, ctx.client().batch(batch)))
    return Split(dict(weights), tuple(answers), ctx.alpha, way.delta)


def _lost(history: Split) -> str:
    """A share is kept by backends that answer: what else comes back is no answer of any of them."""
    kinds = ", ".join(f"{name} {count}×" for name, count in history.errors.items())
    return f"{sum(history.errors.values())} of {len(history.answers)} requests got no backend's answer: {kinds}"


def judge_split(history: Split) -> Judgement:
    """Every declared share is the true one."""
    total = len(history.answers)
    if not total:
        return inconclusive("no request was sent", history.evidence)
    decision, proportions, tests = shares_decision(
        history.counts, history.shares, delta=history.delta, alpha=history.alpha, beta=history.beta
    )
    rates = share_rates(tests, total)
    said = "; ".join(one.text for one in proportions)
    if history.stray:
        stray = ", ".join(f"{name} {count}×" for name, count in history.stray.items())
        return proven(f"backends without a share answered: {stray}", history.evidence, error_rates=rates)
    if history.errors:
        return failed(_lost(history), history.evidence, error_rates=rates)
    off = surely_rejected(
        history.counts, history.shares, history.late, delta=history.delta, alpha=history.alpha, beta=history.beta
    )
    if off:
        seen, enough = (one / math.log(10) for one in (max(one.against for one in proportions), tests[0].limit))
        return failed(f"{said} (10^{seen:.1f} times as likely with shares off by at most {100 * history.delta:g} "
                      f"points; 10^{enough:.1f} decides)", history.evidence, error_rates=rates)  # fmt: skip
    if history.late:
        return inconclusive(
            f"{history.late} of {total} requests ran into a timeout: they may have been any backend's",
            history.evidence,
            error_rates=rates,
        )
    if decision is Decision.GO_ON:
        return inconclusive(f"undecided after {total} requests: {said}", history.evidence, error_rates=rates)
    return passed(said, history.evidence, error_rates=rates)


def judge_nothing_else(history: Split) -> Judgement:
    """Backends without a share get nothing, and each with one gets something."""
    total, enough = len(history.answers), never_seen_samples(history.rare, history.beta)
    seen_from = f"a backend with a share of {100 * history.rare:g} % would go unnoticed with a probability of"
    evidence = (history.evidence, Evidence("what this could miss", f"{seen_from} {(1 - history.rare) ** total:.1e}"))
    if not total:
        return inconclusive("no request was sent", *evidence)
    if history.stray:
        stray = ", ".join(f"{name} {count}×" for name, count in history.stray.items())
        return proven(f"of {total} requests, backends without a share answered: {stray}",
                      *evidence)  # fmt: skip
    if history.errors:
        return failed(_lost(history), *evidence)
    if history.late:
        return inconclusive(f"{history.late} of {total} requests ran into a timeout", *evidence)
    if total < enough:
        return inconclusive(f"{total} requests are too few, {enough} are needed", *evidence)
    if silent := [name for name in history.shares if not history.counts[name]]:
        return failed(f"{', '.join(silent)} has a share and got nothing", *evidence)
    return passed(f"all {total} requests went to {', '.join(history.shares)}", *evidence)


@check(
    id="WT-01",
    title="A two-way split keeps its weights",
    proves=("weights",),
    judge=judge_split,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref",
)
def two_way(ctx: Context) -> Split:
    """90 to 10, by version."""
    return split(ctx, "two", {"v1": 90, "v2": 10}, by="version")


@check(
    id="WT-02",
    title="A backend of weight 0 gets nothing",
    proves=("weights",),
    judge=judge_nothing_else,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref",
)
def zero(ctx: Context) -> Split:
    """100 to 0, by version."""
    samples = never_seen_samples(RARE, BETA)
    return split(ctx, "zero", {"v1": 100, "v2": 0}, by="version", samples=samples)


@check(
    id="WT-05",
    title="A three-way split keeps its weights",
    proves=("weights", "weights by service"),
    judge=judge_split,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref",
)
def three_way(ctx: Context) -> Split:
    """70 to 20 to 10, by service."""
    return split(ctx, "three", {"v1": 70, "v2": 20, "v3": 10}, by="service")


@check(
    id="WT-08",
    title="No request leaves the declared backends",
    proves=("weights", "weights by service"),
    judge=judge_nothing_else,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref",
)
def nothing_else(ctx: Context) -> Split:
    """Half and half by service, in front of a service whose own pods would answer too."""
    samples = never_seen_samples(RARE, BETA)
    return split(ctx, "within", {"v1": 50, "v2": 50}, by="service", samples=samples)
