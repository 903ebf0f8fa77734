"""LC: what happens to requests when pods, proxies and configuration come and go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from conformance.adapters import Unsupported
from conformance.catalogue import check, place
from conformance.checks.capture_judges import Tries
from conformance.checks.injection import changes_pods, observe
from conformance.checks.lifecycle_judges import (
    Deleted,
    Drain,
    Load,
    Moves,
    Rollout,
    judge_deleted,
    judge_drain,
    judge_moves,
    judge_rollout,
)
from conformance.context import LIMITS, Context, Pod
from conformance.gates import MARK_ROW
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.intents import (
    Backend,
    Intent,
    Marker,
    Mode,
    MtlsMode,
    NoInject,
    RequestRoute,
    RoundRobin,
    RouteRule,
    Scope,
    Target,
)
from fixtures.workloads.batch import MAX_SECONDS, MAX_TIMEOUT
from fixtures.workloads.traffic import Batch, Record

__all__ = ["GROUND", "RATE", "marked", "refused", "roll_out", "steady"]


def _strict(spaces: Mapping[str, str]) -> tuple[MtlsMode, ...]:
    return MtlsMode(spaces["strict"], Mode.STRICT), MtlsMode(spaces["lax"], Mode.PERMISSIVE)


GROUND = place(
    Ground(
        name="lc",
        order=9,
        places=(Place("strict", meshed=True), Place("lax", meshed=True), Place("out")),
        workloads=(
            Workload("client", "strict", kind="client"),
            # As applications are told to: a busy cluster needs seconds to tell everybody that a pod is leaving.
            Workload("rolling", "strict", replicas=2, lingers=5.0),
            Workload("fragile", "strict"),
            Workload("server", "lax", lingers=5.0),
            Workload("other", "lax", app="server", version="v2"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            Svc("rolling", "strict", "rolling", ports=HTTP),
            Svc("fragile", "strict", "fragile", ports=HTTP),
            Svc("server", "lax", "server", "v1", ports=HTTP),
            Svc("both", "lax", "server", ports=HTTP),
            Svc("both-v2", "lax", "server", "v2", ports=HTTP),
        ),
        standing=_strict,
    )
)
RATE = 40.0
"""Steady requests a second."""
UNDER_WAY = 1.0
"""Seconds that the application takes for a request of the rollout. A proxy that does not drain loses what is under way
when it ends, and that is some tenths of a second after the last request was sent to its pod."""
LONG = 4.0
"""Seconds that a long request takes."""
BOUND = 10.0


def steady(url: str, takes: float = 0.0) -> Batch:
    """Requests that go on until they are stopped, over connections that the client keeps.

    `takes`: seconds that the application takes for each.
    """
    longest = min(4 * LIMITS.ground_ready, MAX_SECONDS)  # of two rollouts, and of what they leave behind
    return Batch(
        url=f"{url}?delay={round(1000 * takes)}ms" if takes else url,
        rate=RATE,
        shed=True,
        duration=longest,
        concurrency=16 + math.ceil(RATE * takes),
        timeout=min(LIMITS.request + takes, MAX_TIMEOUT),
        fields=("pod",),
    )


def long(url: str) -> Batch:
    """Requests that are under way for long, and still wait as long as others for their answer."""
    return Batch(url=url, count=4, concurrency=4, timeout=min(LONG + LIMITS.request, MAX_TIMEOUT), fields=("pod",))


def outside(ctx: Context, pod: Pod) -> Tries:
    """Plaintext from outside of the mesh to a pod's own address."""
    batch = Batch(url=f"http://{pod.host}:8080/", count=3, concurrency=3, timeout=LIMITS.probe, fresh=True)
    return Tries.of(f"plaintext to {pod.name}", ctx.outsider().batch(batch))


def refused(ctx: Context, pod: Pod) -> Tries:
    """The same to a pod that stands strict."""
    tries = outside(ctx, pod)
    ctx.expect_strict("strict", taken=tries.accepted)
    return tries


def _names(ctx: Context, workload: str) -> tuple[str, ...]:
    return tuple(sorted(one.name for one in ctx.pods(workload)))


def roll_out(ctx: Context, workload: str, body: Mapping[str, object], surge: int = 1) -> None:
    """Change a deployment's pod template and wait until every pod is of the new one.

    `surge`: how many new pods start at a time. Old ones may serve on for a while, see `_gone`.
    """
    space = ctx.space(ctx.ground.workload(workload).place)
    change = {"template": body, "strategy": {"rollingUpdate": {"maxSurge": surge}}}
    ctx.kube.patch("apps/v1", "Deployment", workload, {"spec": change}, space)
    ctx.kube.wait_rollout(space, workload, LIMITS.ground_ready)


def _gone(ctx: Context, workload: str, *pods: str) -> tuple[str, ...]:
    """Wait until these pods of a workload have ended, and return those that have not in time.

    A deployment counts no pod that ends, and only one that has closed its port shows whether requests still go there.
    """
    space = ctx.space(ctx.ground.workload(workload).place)
    left: list[str] = list(pods)

    def ended() -> bool:
        there = {one["metadata"]["name"] for one in ctx.kube.list("v1", "Pod", space, f"app={workload}")}
        left[:] = [name for name in pods if name in there]
        return not left

    ctx.watch(ended, LIMITS.ground_ready)
    return tuple(left)


@check(
    id="LC-01",
    title="A rollout loses no request",
    proves=("life cycle", "rollout"),
    judge=judge_rollout,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment",
)
def rollout(ctx: Context) -> Rollout:
    """Replace every pod of a server under steady requests, and go on until the old ones have ended."""
    before = _names(ctx, "rolling")
    refused(ctx, ctx.pods("rolling")[0])
    seen: list[Record] = []
    # Slow enough that many are always under way: a proxy that ends at once loses those.
    with ctx.client().start(steady(ctx.url("rolling"), UNDER_WAY)) as job:

        def sent() -> list[Record]:
            seen.extend(job.records(len(seen)))
            return seen

        ctx.until(lambda: len(sent()) >= RATE, "requests are sent", LIMITS.in_force)
        # All at a time: the old ones end together, which is as hard for a mesh and sooner over.
        roll_out(ctx, "rolling", {"metadata": {"annotations": {"meshproof.io/rollout": ctx.run}}}, len(before))
        left = _gone(ctx, "rolling", *before)
        load = Load.of(job.finish())
    pods = ctx.pods("rolling")
    return Rollout(outside(ctx, pods[0]), before, tuple(sorted(one.name for one in pods)), load, left)


@check(
    id="LC-02",
    title="A pod that ends answers what it is working on",
    proves=("life cycle", "drain"),
    judge=judge_drain,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
)
def drain(ctx: Context) -> Drain:
    """Delete the only pod of a server while it works on long requests."""
    (pod,) = ctx.pods("fragile")
    plaintext = refused(ctx, pod)
    served = ctx.behave(pod)
    with ctx.client().start(long(ctx.url("fragile", path=f"/?delay={round(LONG * 1000)}ms"))) as job:
        ctx.until(lambda: ctx.behave(pod) >= served + 4, "the pod works on the requests", LIMITS.in_force)
        deleted = ctx.now()
        ctx.kube.delete("v1", "Pod", pod.name, pod.namespace)
        found = job.wait(LONG + 2 * LIMITS.request)
    return Drain(
        plaintext=plaintext,
        seconds=LONG,
        deleted=deleted,
        outcomes=tuple(
            (one.start, one.start + one.seconds, "" if one.ok else one.error or f"status {one.status}") for one in found
        ),
    )


@check(
    id="LC-05",
    title="A workload leaves the mesh and comes back without a lost request",
    proves=("life cycle", "un-mesh"),
    judge=judge_moves,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment",
)
def moves(ctx: Context) -> Moves:
    """Roll a server out without a proxy, and then with one, under requests of a client that stays in the mesh."""
    changes_pods(ctx)
    out = ctx.render(NoInject(Scope.POD))
    stages = [observe(ctx, "server")]
    seen: list[Record] = []
    with ctx.client().start(steady(ctx.url("server"))) as job:

        def asked() -> bool:
            """Whether the pod of the latest stage has answered: kept connections may stay with the one before it."""
            seen.extend(job.records(len(seen)))
            return any(one.pod == stages[-1].pod.rpartition("/")[2] for one in seen)

        ctx.watch(asked, LIMITS.in_force)
        for labels, annotations in (
            (dict(out.labels), dict(out.annotations)),
            (dict.fromkeys(out.labels), dict.fromkeys(out.annotations)),
        ):
            roll_out(ctx, "server", {"metadata": {"labels": labels, "annotations": annotations}})
            stages.append(observe(ctx, "server"))
            ctx.watch(asked, LIMITS.in_force)
        left = _gone(ctx, "server", stages[0].pod.rpartition("/")[2])
        load = Load.of(job.finish())
    return Moves(tuple(stages), load, left)


def marked(ctx: Context, place: str, service: str) -> tuple[Intent, Marker]:
    """Configuration that is nothing but a mark, by which requests to a service all go to its second version.

    A mesh that gives hosts no turns carries it on a route that changes nothing else.
    """
    marker = ctx.marker(Backend("v2", version="v2", service=f"{service}-v2"))
    turns = RoundRobin(ctx.space(place), service, 8080, marker)
    if not isinstance(ctx.adapter.render(turns), Unsupported):
        return turns, marker
    itself = RouteRule((Target(Backend(service, service=service)),))
    return RequestRoute(ctx.space(place), service, 8080, (itself,), marker, "service"), marker


@check(
    id="LC-07",
    title="Deleted configuration leaves no trace",
    proves=("life cycle", "defaults"),
    judge=judge_deleted,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#deleting-resources",
)
def deleted(ctx: Context) -> Deleted:
    """Delete a route that sends marked requests to one version, and see them spread over both again."""
    intent, marker = marked(ctx, "lax", "both")
    ctx.apply(intent)
    ctx.gate("both", marker)
    batch = Batch(
        url=ctx.url("both"),
        count=MARK_ROW,
        headers={marker.header: marker.value},
        timeout=LIMITS.probe,
        fresh=True,
        fields=("pod", "version"),
    )
    before = ctx.client().batch(batch)
    ctx.remove(*reversed(ctx.render(intent).objects))  # what is referred to goes last
    last: list[Record] = []

    def spread() -> bool:
        last[:] = ctx.client().batch(batch)
        # A mesh may take a version away before the route to it: meanwhile some requests fail, which has its bound too.
        return all(one.ok for one in last) and len({one.version for one in last}) > 1

    ctx.watch(spread, BOUND)
    return Deleted(
        only="v2",
        before=tuple(one.version or "" for one in before),
        after=tuple(one.version or "" for one in last),
        errors=_wrong(last),
        errors_before=_wrong(before),
    )


def _wrong(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(one.error or f"status {one.status}" for one in records if not one.ok)
