"""LB-03: the closest hosts get everything, others stand in while those are ejected, and no longer."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from conformance.catalogue import check
from conformance.checks.balancing import GROUND, MARKED
from conformance.checks.ejection import Answer
from conformance.checks.failover_judges import Failover, judge_failover
from conformance.checks.witness import witness
from conformance.context import LIMITS, Context
from conformance.gates import CALM
from conformance.intents import LocalityFailover, OutlierEjection
from fixtures.workloads.traffic import Batch, Record

__all__: list[str] = []

CONSECUTIVE, INTERVAL, EJECTION = 3, 0.5, 4.0
RATE = 80.0
MOST_IN_FLIGHT = 8
BEFORE = 80
"""Requests before anything fails, one after the other: a busy machine makes them slower, not fewer."""
BOUND = 2.0
"""Seconds in which the others must have taken over. Three errors of each host take a sixth of a second, and Envoy tells
its workers of the health of hosts once a second (`update_merge_window`)."""
FAILS = 2.0
"""Seconds for which each host fails from its next request on: it is sound again well before it may be let in."""
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
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority",
)
def failover(ctx: Context) -> Failover:
    """Let every host in the client's zone fail for a moment under steady traffic.

    The traffic pauses while they are told to: each fails from its next request on, so that they fail at the same moment
    however long the orders take. On a busy machine one takes a second, and one after the other they took as long as an
    ejection.
    """
    marker = ctx.marker(MARKED)
    ctx.apply(
        LocalityFailover(OutlierEjection(ctx.space("in"), "placed", 8080, CONSECUTIVE, INTERVAL, EJECTION, 100, marker))
    )
    ctx.gate("placed", marker, CALM)
    near, far = ctx.pods("pool"), ctx.pods("server")
    calm = Batch(url=ctx.url("placed"), count=BEFORE, concurrency=1, timeout=LIMITS.probe, fields=("pod",))
    steady = replace(calm, count=None, rate=RATE, shed=True, duration=4 * LATEST, concurrency=MOST_IN_FLIGHT)
    own = {pod.name for pod in near}
    seen: list[Record] = []
    with witness(ctx, far[0]) as pulse, ExitStack() as healing:
        before = ctx.client().batch(calm)
        for pod in near:
            healing.callback(ctx.behave, pod, codes="")
            ctx.behave(pod, codes="500:100", lasts=f"{FAILS:g}s")
        told = ctx.now()
        with ctx.client().start(steady) as job:

            def records() -> list[Record]:
                seen.extend(job.records(len(seen)))
                return seen

            def failing() -> float:
                """When the first request was sent to hosts that fail from their next one on."""
                return min((one.sent for one in seen), default=told)

            def back() -> bool:
                """Whether the closest hosts have been answering for a while since they may be back."""
                since = [one for one in records() if one.sent > failing() + EJECTION]
                later = sorted(since, key=lambda one: one.sent)[-ROW:]
                return len(later) == ROW and all(one.pod in own for one in later)

            ctx.until(lambda: bool(records()), "requests are sent", LIMITS.in_force)
            ctx.watch(back, failing() + LATEST + 1.0 - ctx.now())
            ended = ctx.now()
            records()
        stall = pulse(ended).stall(failing(), ended)
    return Failover(
        near=tuple(one.name for one in near),
        far=tuple(one.name for one in far),
        failing=failing(),
        bound=BOUND,
        ejection=EJECTION,
        latest=LATEST,
        answers=tuple(map(Answer.of, sorted([*before, *seen], key=lambda one: one.sent))),
        stall=stall,
    )
