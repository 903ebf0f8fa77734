"""INJ-11 and LC-03: the control plane is taken away, and replaced. They touch the whole mesh, so they are run alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from conformance.catalogue import check, place
from conformance.checks.admission import admitted, gated
from conformance.checks.capture_judges import Admitted
from conformance.checks.injection import changes_pods
from conformance.checks.lifecycle import RATE, marked, steady
from conformance.checks.lifecycle_judges import Load
from conformance.checks.webhooks import injecting, planes
from conformance.checks.wide_judges import Down, Upgrade, judge_down, judge_upgrade
from conformance.context import LIMITS, Context, NotInForce
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.outage import stopped
from conformance.planes import plane_of

__all__ = ["GROUND", "ROUTED"]

ROUTED = tuple(f"{name}-{by}" for name in ("odd", "beside") for by in ("version", "service"))
"""Services of which one route has an odd value, and one stands beside it; once by version, once by service."""

GROUND = place(
    Ground(
        name="wide",
        order=90,
        wide=True,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("server", "in"),
            Workload("other", "in", app="server", version="v2"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            *(Svc(name, "in", "server", ports=HTTP) for name in ("server", *ROUTED)),
            *(Svc(f"server-{version}", "in", "server", version, ports=HTTP) for version in ("v1", "v2")),
        ),
    )
)
UPGRADE = "meshproof.io/upgrade"
AWAY = 4.0
"""Seconds for which the control plane stays away under requests."""
NOTHING = Load(0, (), ())


@dataclass(frozen=True)
class Away:
    """What was seen while the control plane was away and right after."""

    planes: tuple[tuple[str, str], ...]
    """Whose pods were away: namespace and Deployment, the control plane's own first."""
    down: Down
    seconds: float
    kept: Load
    fresh: Load


def _declared(ctx: Context, namespace: str) -> tuple[str, ...]:
    """The failure policies of the webhooks for pods."""
    return tuple(str(hook.get("failurePolicy", "Fail")) for hook in injecting(ctx, namespace))


@contextlib.contextmanager
def rolled_out(ctx: Context, where: tuple[str, str]) -> Iterator[None]:
    """Replace the control plane's pods (namespace, Deployment) as an upgrade does; what was changed for it goes again.

    Afterwards the Deployment is as it was, by a rollout of its own, and no ReplicaSet of the change is left.
    """
    namespace, name = where

    def roll_out(mark: str | None) -> None:
        template = {"metadata": {"annotations": {UPGRADE: mark}}}
        ctx.kube.patch("apps/v1", "Deployment", name, {"spec": {"template": template}}, namespace)
        ctx.kube.wait_rollout(namespace, name, LIMITS.ground_ready)

    try:
        roll_out(ctx.run)
        yield
    finally:
        roll_out(None)
        for one in ctx.kube.list("apps/v1", "ReplicaSet", namespace):
            if (one["spec"]["template"].get("metadata", {}).get("annotations") or {}).get(UPGRADE) == ctx.run:
                ctx.kube.delete("apps/v1", "ReplicaSet", one["metadata"]["name"], namespace)


def away(ctx: Context) -> Away:
    """Stop the control plane, create a pod and go on sending requests meanwhile; then create another pod."""
    where = plane_of(ctx.adapter)
    if where is None:
        nobody = Admitted("nobody injects", "")
        return Away((), Down((), nobody, nobody), 0.0, NOTHING, NOTHING)
    declared, ours = _declared(ctx, where[0]), planes(ctx, where)
    kept = steady(ctx.url("server"))
    with ctx.client().start(kept) as one, ctx.client().start(replace(kept, fresh=True)) as other:
        jobs = one, other
        with contextlib.ExitStack() as outage:
            for each in ours:
                outage.enter_context(stopped(ctx.kube, each))
            before = [len(job.finish()) for job in jobs]
            began = ctx.now()
            during, _ = admitted(ctx, "created without an injector", gated(ctx, "during"), "in")
            ctx.watch(lambda: ctx.now() >= began + AWAY, AWAY + 1.0)
            ended = ctx.now()
            # Each by itself, and while it is still away: else what hangs until it is back would be counted as served.
            loads = [Load.of(job.finish()[count:]) for job, count in zip(jobs, before, strict=True)]

    last: dict[str, Any] = {"found": during}

    def injected() -> bool:
        name = f"after-{len(last)}-{round(ctx.now() * 1000)}"
        last["found"], _ = admitted(ctx, "created afterwards", gated(ctx, name), "in")
        return bool(last["found"].added)

    ctx.watch(injected, LIMITS.in_force)
    return Away(ours, Down(declared, during, last["found"]), ended - began, *loads)


@check(
    id="INJ-11",
    title="Without an injector pods fare as declared",
    proves=("injection", "failure policy"),
    judge=judge_down,
    ground=GROUND,
    requires=("INJ-01",),
    reference="Kubernetes, Dynamic Admission Control: failure policy",
)
def injector_down(ctx: Context) -> Down:
    """The outage."""
    changes_pods(ctx)
    return ctx.shared(away).down


@check(
    id="LC-03",
    title="Requests do not notice a control plane that is away or replaced",
    proves=("life cycle", "control-plane upgrade"),
    judge=judge_upgrade,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol",
)
def upgrade(ctx: Context) -> Upgrade:
    """The outage; then every pod that was away is replaced as an upgrade does, and told something new."""
    seen = ctx.shared(away)
    if not seen.planes:
        return Upgrade(0.0, NOTHING, NOTHING, RATE, replaced=None, rollout=NOTHING, in_force=False)

    def pods() -> set[str]:
        found: set[str] = set()
        for namespace, name in seen.planes:
            plane = ctx.kube.get("apps/v1", "Deployment", name, namespace) or {}
            selector = plane["spec"]["selector"]["matchLabels"]
            found |= {one["metadata"]["uid"] for one in ctx.kube.list("v1", "Pod", namespace, selector)}
        return found

    before = pods()
    steadily = replace(steady(ctx.url("server")), fresh=True)
    with ctx.client().start(steadily) as job, contextlib.ExitStack() as rolling:
        for each in seen.planes:
            rolling.enter_context(rolled_out(ctx, each))
        ctx.watch(lambda: not before & pods(), LIMITS.ground_ready)
        intent, marker = marked(ctx, "in", "server")
        ctx.apply(intent)
        try:
            ctx.gate("server", marker)
            in_force = True
        except NotInForce:
            in_force = False
        load = Load.of(job.finish())
        replaced = bool(before) and not before & pods()
    return Upgrade(
        away=seen.seconds,
        kept=seen.kept,
        fresh=seen.fresh,
        rate=RATE,
        replaced=replaced,
        rollout=load,
        in_force=in_force,
        planes=tuple("/".join(each) for each in seen.planes),
        injected=bool(seen.down.during.added),
    )
