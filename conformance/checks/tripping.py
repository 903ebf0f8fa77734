"""CB-08: what a cap refused is seen in the metrics of the proxy that refused it, as such and as often.

The service is the check's own, so that its counters start with it; requests are sent one by one and at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from conformance.adapters.base import Exposition
from conformance.catalogue import check
from conformance.checks.circuit import CONNECTIONS, FAULTY, GROUND, PENDING, REQUESTS
from conformance.checks.limits import Burst
from conformance.context import LIMITS, Context
from conformance.exposition import Counter, counters, total
from conformance.gates import CALM
from conformance.intents import ConnectionLimit, RequestMetrics
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.traffic import Batch
from reports.model import Evidence

__all__ = ["Tripped", "judge_tripped"]

CROWD, DELAY = 16, "500ms"


@dataclass(frozen=True)
class Tripped:
    """Single requests and then a crowd beyond the cap, and what the client's proxy counted for the service."""

    exposition: Exposition | None
    """None: the mesh tells nobody what its proxies count."""
    service: str
    """Full name."""
    calm: Burst
    crowd: Burst
    before: tuple[Counter, ...] | None = ()
    """Read after the single requests; None where nobody answered."""
    after: tuple[Counter, ...] | None = ()
    """Read after the crowd; None where nobody answered."""

    def marked(self, series: tuple[Counter, ...] | None) -> float:
        """How many requests to the service the proxy counted as refused by the cap."""
        if self.exposition is None:
            return 0.0
        wanted = {**self.exposition.at_client, **self.exposition.overflow, self.exposition.service: self.service}
        return total(series or (), wanted)

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(
            f"requests to {self.service}",
            [
                {"requests": name, "sent": len(burst.outcomes), "503": len(burst.refusals), "counted as refused": count}
                for name, burst, count in (
                    ("one by one", self.calm, self.marked(self.before)),
                    ("at once", self.crowd, self.marked(self.after) - self.marked(self.before)),
                )
            ],
        )


def judge_tripped(history: Tripped) -> Judgement:
    """As many as the client saw refused, no more and no fewer; none of those that were within the cap."""
    evidence = history.evidence
    if history.exposition is None:
        return failed("the mesh tells nobody what its proxies count", evidence)
    unserved = len(history.calm.outcomes) - history.calm.served
    refused = len(history.crowd.refusals)
    if unserved or history.crowd.others or not refused:
        why = f"{unserved} single requests were not served, {refused} of a crowd were refused by 503"
        return inconclusive(f"{why}: nothing to count", evidence)
    if history.before is None or history.after is None:
        return inconclusive("what the client's proxy counts could not be read", evidence)
    early = history.marked(history.before)
    counted = history.marked(history.after) - early
    if early:
        return failed(f"{early:.0f} were counted as refused by the cap before any was", evidence)
    if counted != refused:
        return failed(f"{refused} were refused by the cap, {counted:.0f} were counted as such", evidence)
    return passed(f"all {refused} that the cap refused were counted as such, and no other", evidence)


@check(
    id="CB-08",
    title="What a cap refuses is counted as such",
    proves=("connection limit", "metrics"),
    judge=judge_tripped,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/circuit_breaking",
)
def tripped(ctx: Context) -> Tripped:
    """Requests within the cap, then far beyond it; the counters after both."""
    exposition = ctx.render(RequestMetrics()).exposition
    marker = ctx.marker(FAULTY)
    ctx.apply(ConnectionLimit(ctx.space("in"), "tripped", 8080, CONNECTIONS, PENDING, REQUESTS, marker), passing=True)
    ctx.gate("tripped", marker, CALM)
    client, pod = ctx.client(), ctx.pod("client")
    calm = Batch(url=ctx.url("tripped"), count=10, timeout=LIMITS.request, fields=("pod",))
    within = Burst.of(client.batch(calm))
    before = counters(ctx, pod, exposition, lambda _: True) if exposition else ()
    crowd = Burst.of(
        client.batch(
            Batch(
                url=ctx.url("tripped", path=f"/?delay={DELAY}"),
                count=CROWD,
                concurrency=CROWD,
                timeout=LIMITS.request,
                fields=("pod",),
            )
        )
    )
    service = ctx.host("tripped")
    history = Tripped(exposition, service, within, crowd, before)
    if exposition is None:
        return history
    after = counters(ctx, pod, exposition, lambda found: history.marked(found) >= len(crowd.refusals))
    return replace(history, after=after)
