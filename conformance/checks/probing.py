"""INJ-05: a pod whose application fails its probe, in a namespace that is strict from the start."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from conformance.adapters import Rendered
from conformance.catalogue import check
from conformance.checks.injection import GROUND, STRICT
from conformance.checks.joining import plaintext, refusing
from conformance.checks.probing_judges import Probes, is_ready, judge_probes
from conformance.context import LIMITS, Context, Pod
from conformance.ground import Svc, pod_marks, service_of
from conformance.late_pods import has_run, waiting
from fixtures.kube import NotEventually
from fixtures.kube.containers import statuses_of
from fixtures.workloads.manifests import echo_deployment

__all__: list[str] = []

LIVES = 15.0
"""Seconds after which a pod whose probe of liveness fails has been restarted: three times the probe's period and time
limit, and time for the container to end."""
ALIVE, ASKED = "alive", 5
"""Key of the probes of liveness, and how many of them have come by then: a kubelet that hears no answer to three stops
asking, and restarts the container."""


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
    """Make the application of a strict pod fail its probe for a moment.

    Its namespace has no other pod: where probes are broken, none of a ground's own may wait for them.
    """
    space = ctx.space(STRICT.name)
    own = pod_marks(ctx.adapter, STRICT)
    # Some meshes start no pod that belongs to no Service, or guard none of its ports.
    served = service_of(Svc("probed", STRICT.name, "probed"), space, ctx.adapter, callers=[space])
    ctx.kube.apply(*(ctx.dressing.on(one) for one in (served, *_probed(space, ctx.image, own))))
    found, waits = _ready_or_late(ctx, space)
    if not is_ready(found):
        refused = plaintext(ctx, Pod.of(found)) if found and not waits else None
        return Probes(refused, ready=False, restarts=0, went_unready=False, came_back=False, waits=waits)
    pod, since = Pod.of(found), ctx.now()

    def now() -> Mapping[str, Any]:
        return ctx.kube.get("v1", "Pod", pod.name, pod.namespace) or {}

    def restarts() -> int:
        return sum(int(one.get("restartCount", 0)) for one in statuses_of(now()))

    def turns(ready: bool) -> bool:
        try:
            ctx.until(lambda: is_ready(now()) is ready, f"readiness {ready}", LIMITS.readiness)
        except NotEventually:
            return False
        return True

    refused = refusing(ctx, pod, STRICT.name)
    ctx.behave(pod, codes="503:100")
    try:
        went = turns(ready=False)
    finally:
        ctx.behave(pod, codes="")
    back = turns(ready=True)

    def told() -> bool:
        return restarts() > 0 or ctx.counts_of([pod], [ALIVE])[0] >= ASKED

    ctx.watch(told, since + LIVES - ctx.now())
    return Probes(refused, ready=True, restarts=restarts(), went_unready=went, came_back=back)
