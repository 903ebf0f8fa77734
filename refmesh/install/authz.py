"""`refmesh authz check`: which AuthorizationPolicies speak at a pod, found as the control plane finds them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from refmesh.api.authorization_policy import AuthorizationPolicy
from refmesh.config.served import listed
from refmesh.config.store import SOURCES, Store
from refmesh.discovery.authorization import AuthorizationPolicies
from refmesh.errors import UsageProblem
from refmesh.install.options import NAMESPACE
from refmesh.kubeclient import Kube, NotServed

if TYPE_CHECKING:
    from refmesh.config.store import Source

__all__ = ["row_of", "speaking"]

Row = dict[str, Any]
_NEEDED = ("Service", "AuthorizationPolicy")


async def speaking(kube: Kube, pod: str, namespace: str) -> list[Row]:
    """Return one row for each policy at a pod, in the order in which they are asked. Raises `UsageProblem`."""
    found = await kube.get("v1", "pods", pod, namespace)
    if found is None:
        raise UsageProblem(f"There is no pod {pod} in namespace {namespace}.")
    store = Store()
    store.put("Pod", found)
    sources = [source for source in SOURCES if source.name in _NEEDED]
    scopes = dict.fromkeys((namespace, NAMESPACE))
    await asyncio.gather(*(_fill(kube, store, source, scope) for source in sources for scope in scopes))
    snapshot = store.snapshot()
    one = snapshot.pods.get((namespace, pod))
    if one is None or not one.meshed:
        raise UsageProblem(f"Pod {namespace}/{pod} has no proxy that could ask a policy.")
    policies = AuthorizationPolicies.collect(snapshot.authorization_policies.values(), NAMESPACE)
    return [row_of(policy) for policy in policies.of(one, snapshot).all]


async def _fill(kube: Kube, store: Store, source: Source, namespace: str) -> None:
    try:
        items = await listed(kube, source, namespace)
    except NotServed:
        return
    for item in items:
        store.put(source.name, item)


def row_of(policy: AuthorizationPolicy) -> Row:
    """One policy in istioctl's words, and what is wrong with it."""
    problem = f"cannot be read, so it is closed: {policy.unreadable}" if policy.unreadable else ""
    return {
        "ACTION": policy.action.value,
        "AuthorizationPolicy": f"{policy.meta.name}.{policy.meta.namespace}",
        "RULES": 0 if policy.unreadable else len(policy.rules),
        "PROBLEM": problem,
    }
