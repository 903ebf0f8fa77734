"""INJ-06 to INJ-08: a pod's life in the mesh from its first moment: first requests, init containers, its end.

Everything happens in a namespace that is strict from the start: what goes past the proxy is not answered there. What
starts in the mesh is created when the server is known to be in force: the Jobs together, for those who look at them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from conformance.catalogue import check, place
from conformance.checks.bystanders import containers, strangers_in
from conformance.checks.capture_judges import Tries
from conformance.checks.injection import changes_pods
from conformance.checks.injection_judges import (
    JobEnd,
    Knock,
    Start,
    judge_first_request,
    judge_job,
    judge_prepared,
)
from conformance.checks.mtls import GATE
from conformance.context import LIMITS, Context, Pod
from conformance.ground import Ground, Place, Svc, Workload, pod_marks
from conformance.intents import Mode, MtlsMode
from fixtures.kube.containers import statuses_of
from fixtures.workloads.manifests import knock_job
from fixtures.workloads.traffic import Batch

__all__ = ["EXEMPT_IN", "EXEMPT_OUT", "GROUND", "in_force", "plaintext", "refusing"]

EXEMPT_IN, EXEMPT_OUT = 9090, 5999
"""A port of the echo that is exempt from capture on one pod, and one on which nobody listens."""
FIRST = 3
"""Pods of the Job whose applications ask at once."""


def _strict(spaces: Mapping[str, str]) -> tuple[MtlsMode, ...]:
    return MtlsMode(spaces["strict"], Mode.STRICT), MtlsMode(spaces["lax"], Mode.PERMISSIVE)


GROUND = place(
    Ground(
        name="join",
        order=6,
        places=(Place("strict", meshed=True), Place("lax", meshed=True), Place("out")),
        workloads=(
            Workload("client", "strict", kind="client"),
            # Without probes: whether those work is judged on a pod of its own.
            Workload("strict", "strict", probed=False),
            Workload("loose", "strict", probed=False, past_in=(EXEMPT_IN,)),
            Workload("direct", "strict", kind="client", past_out=(EXEMPT_OUT,)),
            Workload("server", "lax"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            Svc("strict", "strict", "strict"),
            Svc("nameless", "strict", "strict", headless=True),
            Svc("server", "lax", "server"),
        ),
        standing=_strict,
    )
)


def plaintext(ctx: Context, pod: Pod, port: int = 8080) -> Tries:
    """Requests from outside of the mesh to a pod's own address.

    They ask for no probe's path: a mesh lets probes in under a strict policy too, and some, as Linkerd, from anywhere.
    """
    scheme, protocol = ("tcp", "tcp") if port == EXEMPT_IN else ("http", "http1")
    url = f"{scheme}://{pod.host}:{port}" + ("" if scheme == "tcp" else GATE)
    batch = Batch(url=url, protocol=protocol, count=5, concurrency=5, timeout=LIMITS.probe, fresh=True)
    return Tries.of(f"from outside of the mesh to {pod.name}:{port}", ctx.outsider().batch(batch))


def refusing(ctx: Context, pod: Pod, place: str, also: Callable[[], bool] = lambda: True) -> Tries:
    """Wait until a pod of a strict place refuses plaintext, and whatever else must hold. The last requests.

    `NotExpressible` where they were taken and nobody could tell the mesh to refuse them.
    """
    tries: list[Tries] = []

    def holds() -> bool:
        tries.append(plaintext(ctx, pod))
        return tries[-1].refused and also()

    ctx.watch(holds, LIMITS.in_force)
    ctx.expect_strict(place, taken=tries[-1].accepted)
    return tries[-1]


def in_force(ctx: Context) -> Tries:
    """Wait until the server answers its mesh and nobody else. The last refusal."""
    ask = Batch(url=ctx.url("strict"), count=5, timeout=LIMITS.probe, fresh=True)
    return refusing(ctx, ctx.pod("strict"), "strict", lambda: all(one.ok for one in ctx.client().batch(ask)))


def _start_jobs(ctx: Context) -> Tries:
    """Start the Jobs once the server is in force. The last refusal before."""
    refused = ctx.shared(in_force, judged=False)
    own = pod_marks(ctx.adapter, GROUND.places[0])
    for name, pods, prepared in (("first", FIRST, False), ("prepared", 1, True)):
        job = knock_job(
            name,
            ctx.space("strict"),
            image=ctx.image,
            url=ctx.url("strict", path=f"/{name}"),
            pods=pods,
            prepared=prepared,
            labels=own.labels,
            annotations=own.annotations,
        )
        ctx.kube.apply(ctx.dressing.on(job))
    return refused


# -- Jobs --------------------------------------------------------------------------------------------------------------


def _pods_of(ctx: Context, job: str) -> list[dict[str, Any]]:
    return ctx.kube.list("v1", "Pod", ctx.space("strict"), f"app={job}")


def _statuses(pod: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in statuses_of(pod) if one["name"] == name]


def _ended(pod: Mapping[str, Any], name: str) -> bool:
    return any(one.get("state", {}).get("terminated", {}).get("exitCode") == 0 for one in _statuses(pod, name))


def _added(pods: list[dict[str, Any]], others: frozenset[str]) -> tuple[str, ...]:
    names = {name for pod in pods for name in containers(pod)}
    return tuple(sorted(names - {"knock", "prepare"} - others))


def _start(ctx: Context, job: str, container: str, wanted: int) -> Start:
    """The first requests of a Job's containers, from their logs, once all have ended."""
    changes_pods(ctx)
    refused = ctx.shared(_start_jobs, judged=False)
    ctx.watch(lambda: sum(_ended(pod, container) for pod in _pods_of(ctx, job)) >= wanted, LIMITS.job)
    pods = _pods_of(ctx, job)
    knocks = []
    for pod in pods:
        name = pod["metadata"]["name"]
        if _ended(pod, container):
            told = json.loads(ctx.kube.logs(ctx.space("strict"), name, container))
            by = str(json.loads(told["body"]).get("pod", "")) if told["status"] == 200 else ""
            knocks.append(Knock(name, told["status"], told["error"], by))
    return Start(refused, _added(pods, strangers_in(ctx)), wanted, tuple(knocks))


@check(
    id="INJ-07",
    title="The proxy is ready before the application's first request",
    proves=("injection", "start order"),
    judge=judge_first_request,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/",
)
def first_request(ctx: Context) -> Start:
    """Applications that ask a strict server as the first thing they do."""
    return _start(ctx, "first", "knock", FIRST)


@check(
    id="INJ-08",
    title="Init containers have a working network",
    proves=("injection", "init containers"),
    judge=judge_prepared,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/",
)
def prepared(ctx: Context) -> Start:
    """An init container that asks a strict server."""
    return _start(ctx, "prepared", "prepare", 1)


@check(
    id="INJ-06",
    title="Jobs complete",
    proves=("injection", "Jobs"),
    judge=judge_job,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#jobs-with-sidecar-containers",
)
def jobs(ctx: Context) -> JobEnd:
    """The Job of INJ-07 after its applications have ended."""
    changes_pods(ctx)
    ctx.shared(_start_jobs, judged=False)

    def ended() -> int:
        return sum(_ended(pod, "knock") for pod in _pods_of(ctx, "first"))

    def complete() -> bool:
        job = ctx.kube.get("batch/v1", "Job", "first", ctx.space("strict")) or {}
        conditions = job.get("status", {}).get("conditions", ())
        return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)

    ctx.watch(lambda: ended() >= FIRST, LIMITS.job)
    at = ctx.now()
    ctx.watch(complete, LIMITS.job)
    waited = ctx.now() - at
    pods = _pods_of(ctx, "first")
    phases = tuple(str(pod.get("status", {}).get("phase", "")) for pod in pods)
    others = strangers_in(ctx)
    beside = {one["name"] for pod in pods for one in pod["spec"]["containers"]} & others
    return JobEnd(FIRST, _added(pods, others), ended(), complete(), phases, waited, tuple(sorted(beside)))
