"""LC-06: the mesh is taken off the cluster. No check can follow, so this one is judged alone and on demand only."""

from __future__ import annotations

from typing import Any

from conformance.catalogue import check, place
from conformance.checks.injection import observe
from conformance.checks.lifecycle import roll_out
from conformance.checks.uninstalling_judges import Uninstalled, judge_uninstalled
from conformance.context import LIMITS, Context, NotExpressible
from conformance.farewell import Ended
from conformance.ground import Ground, Place, Workload
from fixtures.kube import NotEventually

__all__ = ["GROUND"]

GROUND = place(
    Ground(
        name="end",
        order=99,
        wide=True,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(Workload("server", "in"), Workload("outsider", "out", kind="client")),
    )
)
ADMISSION = "admissionregistration.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"


def _webhooks(ctx: Context, namespace: str) -> tuple[str, ...]:
    """The webhook configurations that have the API server ask somebody in the control plane's namespace."""
    found = [
        (kind, one)
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for one in ctx.kube.list(ADMISSION, kind)
    ]
    return tuple(
        f"{kind} {one['metadata']['name']}"
        for kind, one in found
        if any(_service(hook).get("namespace") == namespace for hook in one.get("webhooks") or ())
    )


def _service(hook: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = hook["clientConfig"].get("service") or {}
    return found


def _bindings(ctx: Context, namespace: str) -> tuple[str, ...]:
    """The rights in the whole cluster that accounts of the control plane's namespace have."""
    return tuple(
        f"ClusterRoleBinding {one['metadata']['name']}"
        for one in ctx.kube.list(RBAC, "ClusterRoleBinding")
        if any(subject.get("namespace") == namespace for subject in one.get("subjects") or ())
    )


def _marks(ctx: Context) -> tuple[str, ...]:
    """Labels of the server's pod that neither its author nor Kubernetes put there."""
    pod = ctx.pod("server").object["metadata"].get("labels") or {}
    deployment = ctx.kube.get("apps/v1", "Deployment", "server", ctx.space("in")) or {}
    written = deployment["spec"]["template"]["metadata"].get("labels") or {}
    return tuple(
        sorted(
            key
            for key in pod.keys() - written.keys() - {"pod-template-hash"}
            if not key.partition("/")[0].endswith("kubernetes.io")
        )
    )


@check(
    id="LC-06",
    title="Uninstalling leaves no webhook, rule or label",
    proves=("life cycle", "uninstall"),
    judge=judge_uninstalled,
    ground=GROUND,
    requires=("INJ-01",),
    last=True,
)
def uninstalled(ctx: Context) -> Uninstalled:
    """Run the user's command; then look for what still leads to the mesh, and have an opted-in pod created anew."""
    where = ctx.adapter.control_plane()
    namespace = where[0] if where is not None else ""
    before = observe(ctx, "server")
    webhooks, marks = _webhooks(ctx, namespace), _marks(ctx)
    if where is None:
        return Uninstalled(before, webhooks, marks, Ended(0, "there was nothing to do"), (), before, marks)
    if ctx.farewell is None:
        raise NotExpressible("nobody has said how it is uninstalled")
    ended = ctx.farewell.say()
    left: list[str] = []

    def clean() -> bool:
        left[:] = (*_webhooks(ctx, namespace), *_bindings(ctx, namespace))
        return not left

    ctx.watch(clean, LIMITS.ground_ready)
    after = None
    if not left:  # a webhook that nobody answers may keep every pod from being created
        try:
            roll_out(ctx, "server", {"metadata": {"annotations": {"meshproof.io/uninstalled": ctx.run}}})
            after = observe(ctx, "server")
        except NotEventually:
            after = None
    return Uninstalled(before, webhooks, marks, ended, tuple(left), after, _marks(ctx) if after else ())
