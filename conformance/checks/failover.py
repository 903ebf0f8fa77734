"""LB-03: the closest hosts get everything, others stand in while those are ejected, and no longer."""

from __future__ import annotations

from contextlib import ExitStack

from conformance.catalogue import check
from conformance.checks.balancing import GROUND, MARKED
from conformance.checks.ejection import Answer
from conformance.checks.failover_judges import Failover, judge_failover
from conformance.checks.witness import witness
from conformance.context import LIMITS, Context
from conformance.intents import LocalityFailover, OutlierEjection
from fixtures.workloads.traffic import Batch, Record

__all__: list[str] = []

CONSECUTIVE, INTERVAL, EJECTION = 3, 0.5, 4.0
RATE = 80.0
MOST_IN_FLIGHT = 8
BEFORE = 80
"""Requests before anything fails: one second."""
BOUND = 2.0
"""Seconds in which the others must have taken over. Three errors of each host take a sixth of a second, and Envoy tells
its workers of the health of hosts once a second (`update_merge_window`)."""
FAILS = 2.0
"""Seconds for which the hosts fail: they are sound again well before they may be let in."""
LATEST = EJECTION + 2 * INTERVAL + 3.0
"""The closest hosts must have everything again this long after they began to fail: the ejection time, two intervals
until they are looked at again, and slack for a busy machine."""
ROW = 40
"""So many requests in a row to the closest hosts end the watch."""


@check(
    id="LB-03",
    title="Hosts of another zone stand in while those of the own are ejected",
    proves=("load balancing", "locality failover"),
    judge=judge_failover,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
)
def failover(ctx: Context) -> Failover:
    """Let every host in the client's zone fail for a moment under steady traffic."""
    marker = ctx.marker(MARKED)
    ctx.apply(
        LocalityFailover(OutlierEjection(ctx.space("in"), "placed", 8080, CONSECUTIVE, INTERVAL, EJECTION, 100, marker))
    )
    ctx.gate("placed", marker)
    near, far = ctx.pods("pool"), ctx.pods("server")
    batch = Batch(
        url=ctx.url("placed"),
        rate=RATE,
        duration=4 * LATEST,
        concurrency=MOST_IN_FLIGHT,
        timeout=LIMITS.probe,
        fields=("pod",),
    )
    seen: list[Record] = []
    with witness(ctx, far[0]) as pulse, ctx.client().start(batch) as job, ExitStack() as healing:
        for pod in near:
            ctx.behave(pod, codes="")  # a connection to each control port, so that they fail at the same moment
            healing.callback(ctx.behave, pod, codes="")

        def records() -> list[Record]:
            seen.extend(job.records(len(seen)))
            return seen

        def back() -> bool:
            """Whether the closest hosts have been answering for a while since they may be back."""
            later = sorted((one for one in records() if one.sent > failing + EJECTION), key=lambda one: one.sent)[-ROW:]
            return len(later) == ROW and all(one.pod in {pod.name for pod in near} for one in later)

        ctx.until(lambda: len(records()) >= BEFORE, "requests are sent", LIMITS.in_force)
        failing = ctx.now()
        for pod in near:
            ctx.behave(pod, codes="500:100", lasts=f"{FAILS:g}s")
        broken = ctx.now()
        ctx.watch(back, LATEST + 1.0)
        ended = ctx.now()
        records()
        stall = pulse(ended).stall(failing, ended)
    return Failover(
        near=tuple(one.name for one in near),
        far=tuple(one.name for one in far),
        failing=failing,
        broken=broken,
        bound=BOUND,
        ejection=EJECTION,
        latest=LATEST,
        answers=tuple(map(Answer.of, sorted(seen, key=lambda one: one.sent))),
        stall=stall,
    )
