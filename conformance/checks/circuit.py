"""CB: hosts that fail are ejected and come back; a cap on connections and requests refuses at once.

CB-01, 02, 03 and 07 judge one episode: steady traffic to three hosts, one of them starts to fail, is healed while it
is ejected, and must come back. The episode is collected once.
"""

from __future__ import annotations

from dataclasses import replace

from conformance.catalogue import check, place
from conformance.checks.ejection import Answer, Episode
from conformance.checks.ejection_judges import (
    judge_ejected,
    judge_healthy_unaffected,
    judge_nothing_while_ejected,
    judge_returns,
)
from conformance.checks.limits import ENOUGH, Burst, Cap, judge_cap
from conformance.checks.witness import BEATS, witness
from conformance.context import LIMITS, Context, Pod
from conformance.gates import CALM
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.intents import Backend, ConnectionLimit, OutlierEjection
from fixtures.workloads.manifests import PORTS
from fixtures.workloads.traffic import Batch, Job, Record

__all__ = ["GROUND"]

GROUND = place(
    Ground(
        name="cb",
        order=1,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("steady", "in", app="pool", version="v1", replicas=2),
            Workload("faulty", "in", app="pool", version="v2"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            Svc("pool", "in", "pool", ports=HTTP),
            Svc("capped", "in", "pool", ports=HTTP),
            Svc("tripped", "in", "pool", ports=HTTP),
            Svc("pool-v2", "in", "pool", "v2", ports=HTTP),
            Svc("beats", "in", "pool", ports=("tcp",)),
        ),
        server="faulty",
    )
)

FAULTY = Backend("faulty host", version="v2", service="pool-v2")
CONSECUTIVE = 5
INTERVAL, EJECTION = 1.0, 3.0
RATE = 120.0
TAKES = "20ms"
"""What the application takes for a request, so that some are always under way: a balancer by latency, as Linkerd's,
gives everything to the one host that is quickest, as long as that has nothing else to do."""
LATEST = EJECTION + 2 * INTERVAL + 3.0
"""The host must be back this long after its ejection: the ejection time, one interval until it is looked at again, one
of grace, and slack for a busy machine."""
FAILS = 2.0
"""Seconds for which the host fails from its first error on: time for many times the errors that eject, and it is sound
again well before it may be let in, however late the runner is."""
LONGEST = 25.0
"""Seconds after which the traffic ends whatever happened."""
MOST_IN_FLIGHT = 16


def episode(ctx: Context) -> Episode:
    """Let one of three hosts fail for a moment under steady traffic, and watch it come back."""
    space = ctx.space("in")
    pod = ctx.pod("faulty")
    marker = ctx.marker(FAULTY)
    ctx.apply(OutlierEjection(space, "pool", 8080, CONSECUTIVE, INTERVAL, EJECTION, 100, marker))
    ctx.gate("pool", marker, CALM)
    batch = Batch(
        url=ctx.url("pool", path=f"/?delay={TAKES}"),
        rate=RATE,
        shed=True,
        duration=LONGEST,
        concurrency=MOST_IN_FLIGHT,
        timeout=LIMITS.probe,
        fields=("pod",),
    )
    healthy = ctx.pods("steady")[0]
    with (
        witness(ctx, healthy) as pulse,
        ctx.client().start(batch) as job,
    ):
        try:
            seen = _fail_and_return(ctx, job, pod)
        finally:
            ctx.behave(pod, codes="")
        return replace(seen, pulse=pulse(seen.ended))


def _fail_and_return(ctx: Context, job: Job, pod: Pod) -> Episode:
    seen: list[Record] = []

    def answers(since: float = 0.0, *, failing: bool | None = None) -> int:
        seen.extend(job.records(len(seen)))
        of_pod = [one for one in seen if one.pod == pod.name and one.start >= since]
        return sum(failing is None or (one.status == 500) is failing for one in of_pod)

    ctx.until(lambda: answers() >= 5, "the host that will fail serves", LIMITS.in_force)
    broken = ctx.now()
    ctx.behave(pod, codes="500:100", lasts=f"{FAILS:g}s")
    healed = ctx.now() + FAILS
    ctx.watch(lambda: answers(broken, failing=True) >= CONSECUTIVE, LIMITS.in_force)
    ejected = ctx.now()
    # Beyond the ejection time, so that the history covers all of it even where the host was never ejected.
    ctx.watch(lambda: answers(ejected + EJECTION) >= 3, LATEST + 1.0)
    whole = job.finish()
    return Episode(
        host=pod.name,
        hosts=tuple(one.name for name in ("steady", "faulty") for one in ctx.pods(name)),
        consecutive=CONSECUTIVE,
        ejection=EJECTION,
        latest=LATEST,
        in_flight=MOST_IN_FLIGHT,
        broken=broken,
        healed=healed,
        ended=ctx.now(),
        arrivals=ctx.arrivals(pod),
        answers=tuple(map(Answer.of, whole)),
    )


@check(
    id="CB-01",
    title="Consecutive server errors eject a host",
    proves=("outlier ejection",),
    judge=judge_ejected,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier",
)
def consecutive_errors(ctx: Context) -> Episode:
    """The episode."""
    return ctx.shared(episode)


@check(
    id="CB-02",
    title="An ejected host gets nothing",
    proves=("outlier ejection",),
    judge=judge_nothing_while_ejected,
    ground=GROUND,
    requires=("INJ-01", "CB-01"),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier",
)
def nothing_while_ejected(ctx: Context) -> Episode:
    """The episode."""
    return ctx.shared(episode)


@check(
    id="CB-03",
    title="An ejected host returns after the ejection time",
    proves=("outlier ejection",),
    judge=judge_returns,
    ground=GROUND,
    requires=("INJ-01", "CB-01"),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier",
)
def returns(ctx: Context) -> Episode:
    """The episode."""
    return ctx.shared(episode)


@check(
    id="CB-07",
    title="Healthy hosts are unaffected by an ejection",
    proves=("outlier ejection",),
    judge=judge_healthy_unaffected,
    ground=GROUND,
    requires=("INJ-01", "CB-01"),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier",
)
def healthy_unaffected(ctx: Context) -> Episode:
    """The episode."""
    return ctx.shared(episode)


BURST, DELAY = 24, 3.0
"""So many requests at once, each of which takes the application so many seconds: far more than it takes a busy machine
to open the connections, so that a refusal and a wait cannot be mixed up."""
MOST_BURSTS = 15
"""Bursts that are sent until enough count."""
CONNECTIONS, PENDING, REQUESTS = 2, 1, 2


@check(
    id="CB-05",
    title="A cap on connections and requests answers 503 at once",
    proves=("connection limit",),
    judge=judge_cap,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/circuit_breaking",
)
def cap(ctx: Context) -> Cap:
    """Bursts far beyond the cap, and single requests that are within it."""
    marker = ctx.marker(FAULTY)
    ctx.apply(ConnectionLimit(ctx.space("in"), "capped", 8080, CONNECTIONS, PENDING, REQUESTS, marker), passing=True)
    ctx.gate("capped", marker, CALM)
    calm = Batch(url=ctx.url("capped"), count=20, timeout=LIMITS.request, fields=("pod",))
    crowd = Batch(
        url=ctx.url("capped", path=f"/?delay={round(DELAY * 1000)}ms"),
        count=BURST,
        concurrency=BURST,
        timeout=LIMITS.request,
        fields=("pod",),
    )
    client = ctx.client()
    before = Burst.of(client.batch(calm))
    bursts: list[Burst] = []
    # The same client and proxy, and the same hosts, by a service without a cap; at another port, because some meshes,
    # as Istio, have a host's own proxy keep the cap as well, for all that comes to the port, by whatever service.
    with ctx.pulse(client, ctx.url("beats", PORTS["tcp"], "", "tcp"), BEATS) as pulse:
        while len(bursts) < MOST_BURSTS and sum(one.counts for one in bursts) < ENOUGH:
            sent = client.batch(crowd)
            begin, end = min(one.start for one in sent), max(one.start + one.seconds for one in sent)
            bursts.append(Burst.of(sent, pulse(end).stall(begin, end)))
    after = Burst.of(client.batch(calm))
    return Cap(
        allowed=CONNECTIONS + PENDING,
        delay=DELAY,
        before=before,
        bursts=tuple(bursts),
        after=after,
        least=min(CONNECTIONS, REQUESTS),
    )
