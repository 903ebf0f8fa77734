"""INJ-05 to INJ-08: a pod's life in the mesh from its first moment: first requests, init containers, probes, its end.

Everything happens in a namespace that is strict from the start: what goes past the proxy is not answered there. What
starts in the mesh is created when the server is known to be in force: the Jobs together, for those who look at them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from conformance.adapters import Rendered
from conformance.catalogue import check, place
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
from conformance.checks.probes import Probes, is_ready, judge_probes
from conformance.context import LIMITS, Context, Pod
from conformance.ground import Ground, Place, Svc, Workload, pod_marks
from conformance.intents import Mode, MtlsMode
from conformance.late_pods import has_run, waiting
from fixtures.kube import NotEventually
from fixtures.workloads.manifests import echo_deployment, knock_job
from fixtures.workloads.traffic import Batch

__all__ = ["EXEMPT_IN", "EXEMPT_OUT", "GROUND", "in_force", "plaintext"]

EXEMPT_IN, EXEMPT_OUT = 9090, 5999
"""A port of the echo that is exempt from capture on one pod, and one on which nobody listens."""
LIVES = 15.0
"""Seconds after which a pod whose probe of liveness fails has been restarted: three times the probe's period and time
limit, and time for the container to end."""
ALIVE, ASKED = "alive", 5
"""Key of the probes of liveness, and how many of them have come by then: a kubelet that hears no answer to three stops
asking, and restarts the container."""
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


def in_force(ctx: Context) -> Tries:
    """Wait until the server answers its mesh and nobody else. The last refusal."""
    server = ctx.pod("strict")
    ask = Batch(url=ctx.url("strict"), count=5, timeout=LIMITS.probe, fresh=True)
    refused: list[Tries] = []

    def strict() -> bool:
        refused.append(plaintext(ctx, server))
        return refused[-1].refused and all(one.ok for one in ctx.client().batch(ask))

    ctx.watch(strict, LIMITS.in_force)
    ctx.expect_strict("strict", taken=refused[-1].accepted)
    return refused[-1]


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


def _probed(space: str, image: str, own: Rendered) -> list[dict[str, Any]]:
    """An echo with a probe of each kind that the echo can answer, each on another way."""
    objects = copy.deepcopy(
        echo_deployment("probed", space, image=image, labels=own.labels, annotations=own.annotations)
    )
    container = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]
    often = {"periodSeconds": 1, "failureThreshold": 1}
    container["startupProbe"] = {"tcpSocket": {"port": "tcp"}, "periodSeconds": 1, "failureThreshold": 30}
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, **often}
    # The echo answers this path soundly whatever it is told: only its readiness may go when it fails. A kubelet that
    # restarts it meanwhile would hide whether readiness follows.
    container["livenessProbe"] = {
        "httpGet": {
            "path": "/ready",
            "port": 8443,
            "scheme": "HTTPS",
            "httpHeaders": [{"name": "x-meshproof-key", "value": ALIVE}],
        },
        "periodSeconds": 1,
        "timeoutSeconds": 2,
        "failureThreshold": 3,
    }
    return objects


# -- Jobs --------------------------------------------------------------------------------------------------------------


def _pods_of(ctx: Context, job: str) -> list[dict[str, Any]]:
    return ctx.kube.list("v1", "Pod", ctx.space("strict"), f"app={job}")


def _statuses(pod: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    status = pod.get("status", {})
    every = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return [one for one in every if one["name"] == name]


def _ended(pod: Mapping[str, Any], name: str) -> bool:
    return any(one.get("state", {}).get("terminated", {}).get("exitCode") == 0 for one in _statuses(pod, name))


def _added(pods: list[dict[str, Any]]) -> tuple[str, ...]:
    names = {
        one["name"]
        for pod in pods
        for one in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
        if one["name"] not in {"knock", "prepare"}
    }
    return tuple(sorted(names))


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
    return Start(refused, _added(pods), wanted, tuple(knocks))


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
    return JobEnd(FIRST, _added(pods), ended(), complete(), phases, waited)


def _ready_or_late(ctx: Context, space: str) -> tuple[Mapping[str, Any], str]:
    """The pod with the probes, once it is Ready or its application has run for long enough without, and else why not.

    When the application starts is the cluster's doing: there may be no room, or an image to be pulled. A pod that is
    not there at all was not let in, which is no lateness.
    """
    found: Mapping[str, Any] = {}
    since: float | None = None

    def over() -> bool:
        nonlocal found, since
        found = next(iter(ctx.kube.list("v1", "Pod", space, "app=probed")), found)
        if since is None and has_run(found, "echo"):
            since = ctx.now()
        return is_ready(found) or (since is not None and ctx.now() >= since + LIMITS.job)

    ctx.watch(over, LIMITS.ground_ready + LIMITS.job)
    if since is None:
        return found, waiting(found) if found else ""
    ran = ctx.now() - since
    return found, "" if ran >= LIMITS.job else f"its application runs for {ran:.0f} s only"


# -- probes ------------------------------------------------------------------------------------------------------------


@check(
    id="INJ-05",
    title="Probes work under strict mTLS",
    proves=("injection", "probes"),
    judge=judge_probes,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/",
)
def probes(ctx: Context) -> Probes:
    """Make the application of a strict pod fail its probe for a moment."""
    ctx.shared(in_force, judged=False)
    space = ctx.space("strict")
    own = pod_marks(ctx.adapter, GROUND.places[0])
    ctx.kube.apply(*(ctx.dressing.on(one) for one in _probed(space, ctx.image, own)))
    found, waits = _ready_or_late(ctx, space)
    if not is_ready(found):
        refused = plaintext(ctx, ctx.pod("strict"))
        return Probes(refused, ready=False, restarts=0, went_unready=False, came_back=False, waits=waits)
    pod = Pod.of(found)

    since = ctx.now()

    def now() -> Mapping[str, Any]:
        return ctx.kube.get("v1", "Pod", pod.name, pod.namespace) or {}

    def restarts() -> int:
        status = now().get("status", {})
        statuses = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
        return sum(int(one.get("restartCount", 0)) for one in statuses)

    def turns(ready: bool) -> bool:
        try:
            ctx.until(lambda: is_ready(now()) is ready, f"readiness {ready}", LIMITS.readiness)
        except NotEventually:
            return False
        return True

    refused = plaintext(ctx, pod)
    ctx.behave(pod, codes="503:100")
    try:
        went = turns(ready=False)
    finally:
        ctx.behave(pod, codes="")
    back = turns(ready=True)

    def told() -> bool:
        return restarts() > 0 or ctx.counted(ALIVE, pod) >= ASKED

    ctx.watch(told, since + LIVES - ctx.now())
    return Probes(refused, ready=True, restarts=restarts(), went_unready=went, came_back=back)
