"""LC-06: the mesh is taken off the cluster. No check can follow, so this one is judged alone and on demand only."""

from __future__ import annotations

from conformance.catalogue import check, place
from conformance.checks.hooks import ADMISSION, asked
from conformance.checks.injection import changes_pods, observe
from conformance.checks.lifecycle import roll_out
from conformance.checks.uninstalling_judges import Uninstalled, judge_uninstalled
from conformance.checks.webhooks import answered_by_others, planes
from conformance.context import LIMITS, Context, NotExpressible
from conformance.farewell import Ended
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.late_pods import has_run, waiting
from conformance.planes import plane_of
from fixtures.kube import NotEventually

__all__ = ["GROUND", "account_of", "bindings", "webhooks"]

GROUND = place(
    Ground(
        name="end",
        order=99,
        wide=True,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(Workload("server", "in"), Workload("outsider", "out", kind="client")),
        services=(Svc("server", "in", "server", ports=HTTP),),
    )
)
RBAC = "rbac.authorization.k8s.io/v1"
ANEW = "meshproof.io/uninstalled"
"""Annotation of the pod that is created after the mesh is gone."""


def webhooks(ctx: Context, ours: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The webhook configurations that have the API server ask a Service in the namespace of our control plane.

    One that names a host outside of the cluster says nothing of whose it is, and is not among them; nor is one that
    somebody else in that namespace answers.
    """
    found = [
        (f"{kind} {one['metadata']['name']}", names)
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for one in (ctx.kube.list(ADMISSION, kind) if ours else ())
        if (names := {at[1] for hook in one.get("webhooks") or () if (at := asked(hook)) and at[0] == ours[0][0]})
    ]
    others = answered_by_others(ctx, ours) if found else frozenset()
    return tuple(name for name, services in found if services - others)


def account_of(ctx: Context, where: tuple[str, str] | None) -> tuple[str, str] | None:
    """Namespace and name of the control plane's own ServiceAccount; None where there is no control plane."""
    deployment = ctx.kube.get("apps/v1", "Deployment", where[1], where[0]) if where else None
    if where is None or deployment is None:
        return None
    return where[0], deployment["spec"]["template"]["spec"].get("serviceAccountName") or "default"


def bindings(ctx: Context, account: tuple[str, str] | None) -> tuple[str, ...]:
    """The rights in the whole cluster that this ServiceAccount has by name, whether it still exists or not."""
    return tuple(
        f"ClusterRoleBinding {one['metadata']['name']}"
        for one in ctx.kube.list(RBAC, "ClusterRoleBinding")
        for subject in one.get("subjects") or ()
        if subject["kind"] == "ServiceAccount" and (subject.get("namespace"), subject["name"]) == account
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


def _waits(ctx: Context) -> str:
    """What the new pod waits for; "" where its application runs without being Ready, or nobody lets one in."""
    pods = ctx.kube.list("v1", "Pod", ctx.space("in"), "app=server")
    new = [one for one in pods if ANEW in (one["metadata"].get("annotations") or {})]
    return "" if not new or has_run(new[0], "echo") else waiting(new[0])


@check(
    id="LC-06",
    title="Uninstalling leaves no webhook, rule or label",
    proves=("life cycle", "uninstall"),
    judge=judge_uninstalled,
    ground=GROUND,
    requires=("INJ-01",),
    last=True,
    reference="Kubernetes, Dynamic Admission Control",
)
def uninstalled(ctx: Context) -> Uninstalled:
    """Run the user's command; then look for what still leads to the mesh, and have an opted-in pod created anew."""
    changes_pods(ctx)
    where = plane_of(ctx.adapter)
    account = account_of(ctx, where)  # noted before: afterwards nobody says any more which one it was
    before = observe(ctx, "server")
    ours = planes(ctx, where) if where is not None else ()
    asking, marks = webhooks(ctx, ours), _marks(ctx)
    if where is None:
        return Uninstalled(before, asking, marks, Ended(0, "there was nothing to do"), (), before, marks)
    if ctx.farewell is None:
        raise NotExpressible("nobody has said how it is uninstalled")
    ended = ctx.farewell.say()
    if not ended.started:  # and so the mesh is there as before
        return Uninstalled(before, asking, marks, ended, (), before, marks)

    def left() -> tuple[tuple[str, ...], tuple[str, ...]]:
        return webhooks(ctx, ours), bindings(ctx, account)

    ctx.watch(lambda: not any(left()), LIMITS.ground_ready)
    still_asking, rights = left()
    after, waits = None, ""
    if not still_asking:  # a webhook that nobody answers may keep every pod from being created
        try:
            roll_out(ctx, "server", {"metadata": {"annotations": {ANEW: ctx.run}}})
            after = observe(ctx, "server")
        except NotEventually:
            waits = _waits(ctx)
    remains = (*still_asking, *rights)
    return Uninstalled(before, asking, marks, ended, remains, after, _marks(ctx) if after else (), waits)
