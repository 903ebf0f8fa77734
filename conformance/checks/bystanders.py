"""What others than the mesh make of pods: policy engines, agents, the cluster itself. It is not held against the mesh.

The witness is the pod outside of the mesh: what it was given as well, it was not the mesh that gave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.adapters.base import Proxy
from conformance.checks.hooks import ADMISSION, asked, changes_new_pods, selects
from conformance.context import Context
from fixtures.kube import ApiProblem
from fixtures.kube.containers import containers_of

__all__ = ["OURS", "containers", "mutators", "own_account", "strangers", "strangers_in"]

OURS = {"echo", "client", "sniffer"}
"""Containers of our own workloads; whatever else a pod has, somebody added."""
UNLISTED = "whoever else has webhooks for pods: the user may not list them"
BY_NAMESPACE = ("seLinuxOptions", "runAsUser", "runAsGroup", "fsGroup", "supplementalGroups")
"""What OpenShift gives pods that do not say it, in each namespace another value."""


def containers(pod: Mapping[str, Any]) -> list[str]:
    """Names of a pod's containers, init containers first."""
    return [one["name"] for one in containers_of(pod)]


def strangers(proxy: Proxy | None, outsider: Mapping[str, Any]) -> frozenset[str]:
    """Containers that somebody else gives every pod, as the one outside of the mesh shows.

    None where that one may be in the mesh: it has the proxy, or nobody has said what that is called.
    """
    found = frozenset(containers(outsider)) - OURS
    return frozenset() if proxy is None or not proxy.container or proxy.container in found else found


def strangers_in(ctx: Context) -> frozenset[str]:
    """The same by a ground's outsider, as it is now."""
    one = ctx.ground.workload(ctx.ground.outsider)
    return strangers(ctx.adapter.proxy, ctx.kube.get("v1", "Pod", one.name, ctx.space(one.place)) or {})


def mutators(ctx: Context, space: str, pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Webhook configurations that may change such a pod there, and ask nobody in the control plane's namespace."""
    try:
        found = ctx.kube.list(ADMISSION, "MutatingWebhookConfiguration")
    except ApiProblem as problem:
        if not problem.without_rights:
            raise
        return (UNLISTED,)
    where = ctx.adapter.control_plane()
    of_space = (ctx.kube.get("v1", "Namespace", space) or {}).get("metadata", {}).get("labels") or {}
    of_pod = pod.get("metadata", {}).get("labels") or {}

    def strange(hook: Mapping[str, Any]) -> bool:
        return (
            changes_new_pods(hook)
            and selects(hook.get("namespaceSelector"), of_space)
            and selects(hook.get("objectSelector"), of_pod)
            and (where is None or (asked(hook) or ("",))[0] != where[0])
        )

    return tuple(one["metadata"]["name"] for one in found if any(map(strange, one.get("webhooks") or ())))


def own_account(
    said: Mapping[str, Any] | None, other: Mapping[str, Any] | None, written: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """A security context without what the cluster gave it in either namespace, and nobody had written."""
    if said is None:
        return None
    given = {key for key in BY_NAMESPACE if key in (other or {}) and key not in (written or {})}
    return {key: value for key, value in said.items() if key not in given}
