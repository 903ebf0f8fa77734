"""Which webhooks lead to the judged control plane, and which Deployments answer them.

Another revision of the mesh may run in the same namespace, or the namespace may be one for everything, as kube-system.
Whatever of it has no say in this run's pods is none of the judged mesh: it is neither stopped nor looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conformance.checks.hooks import ADMISSION, asked, changes_new_pods, selects
from conformance.checks.injection import changes_pods
from conformance.context import Context, NotExpressible

__all__ = ["answered_by_others", "injecting", "planes"]


def injecting(ctx: Context, namespace: str) -> list[Mapping[str, Any]]:
    """The webhooks served from the control plane's namespace that are asked about pods of the run's meshed place.

    A mesh that changes no pods has none, and what is beside it is somebody else's, whatever pods that is asked about.
    """
    try:
        changes_pods(ctx)
    except NotExpressible:
        return []
    space = (ctx.kube.get("v1", "Namespace", ctx.space("in")) or {}).get("metadata", {})
    written = ctx.kube.get("apps/v1", "Deployment", "server", ctx.space("in")) or {}
    pod = written.get("spec", {}).get("template", {}).get("metadata", {})
    return [
        hook
        for one in ctx.kube.list(ADMISSION, "MutatingWebhookConfiguration")
        for hook in one.get("webhooks") or ()
        if (asked(hook) or ("",))[0] == namespace
        and changes_new_pods(hook)
        and selects(hook.get("namespaceSelector"), space.get("labels") or {})
        and selects(hook.get("objectSelector"), pod.get("labels") or {})
    ]


def planes(ctx: Context, where: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """The control plane's Deployment, and those that serve its webhooks for pods where they are others."""
    namespace = where[0]
    services = {asked(hook) for hook in injecting(ctx, namespace)}
    serving = {
        (namespace, name)
        for service, names in (_answering(ctx, namespace) if services else ())
        if (namespace, service) in services
        for name in names
    }
    return where, *sorted(serving - {where})


def answered_by_others(ctx: Context, ours: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """The Services beside the control plane that other Deployments are behind, and none of `ours`."""
    namespace, own = ours[0][0], {name for _, name in ours}
    return frozenset(service for service, names in _answering(ctx, namespace) if names and not names & own)


def _answering(ctx: Context, namespace: str) -> Iterator[tuple[str, set[str]]]:
    """Each Service of a namespace, and the Deployments behind it."""
    deployments = ctx.kube.list("apps/v1", "Deployment", namespace)
    for one in ctx.kube.list("v1", "Service", namespace):
        if selector := one["spec"].get("selector"):
            yield (
                one["metadata"]["name"],
                {
                    str(behind["metadata"]["name"])
                    for behind in deployments
                    if selector.items() <= (behind["spec"]["template"]["metadata"].get("labels") or {}).items()
                },
            )
