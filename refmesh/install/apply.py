"""Objects onto the API server and off it again: server-side apply, waiting for what the objects promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from refmesh.errors import EnvironmentProblem
from refmesh.kubeclient import Expired, KubeError

if TYPE_CHECKING:
    from refmesh.kubeclient import Kube

__all__ = ["MANAGED", "apply", "delete", "is_mine", "path_of", "wait_for", "wait_gone"]

Object = Mapping[str, Any]
FIELD_MANAGER = "refmesh"
MANAGED = "app.kubernetes.io/managed-by"
"""Label of everything that an installation puts on a cluster; its value is `refmesh`."""

_PLURALS = {
    "Namespace": ("namespaces", False),
    "ConfigMap": ("configmaps", True),
    "Pod": ("pods", True),
    "ServiceAccount": ("serviceaccounts", True),
    "ResourceQuota": ("resourcequotas", True),
    "Service": ("services", True),
    "Deployment": ("deployments", True),
    "DaemonSet": ("daemonsets", True),
    "ClusterRole": ("clusterroles", False),
    "ClusterRoleBinding": ("clusterrolebindings", False),
    "Role": ("roles", True),
    "RoleBinding": ("rolebindings", True),
    "MutatingWebhookConfiguration": ("mutatingwebhookconfigurations", False),
    "ValidatingWebhookConfiguration": ("validatingwebhookconfigurations", False),
    "GatewayClass": ("gatewayclasses", False),
    "CustomResourceDefinition": ("customresourcedefinitions", False),
}


def plural_of(kind: str) -> str:
    """Return the name of a kind in the API's paths, for the kinds that an installation has."""
    return _PLURALS[kind][0]


def path_of(obj: Object) -> str:
    """Return an object's path on the API server."""
    plural, namespaced = _PLURALS[obj["kind"]]
    api, metadata = obj["apiVersion"], obj["metadata"]
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    scope = f"/namespaces/{metadata['namespace']}" if namespaced else ""
    return f"{root}{scope}/{plural}/{metadata['name']}"


def is_mine(obj: Object) -> bool:
    """Whether an installation of refmesh put the object there."""
    return (obj["metadata"].get("labels") or {}).get(MANAGED) == "refmesh"


async def apply(kube: Kube, obj: Object) -> dict[str, Any]:
    """Apply one object, taking over its fields from whoever set them before."""
    query = {"fieldManager": FIELD_MANAGER, "force": "true"}
    return await kube.request("PATCH", path_of(obj), obj, query=query, content_type="application/apply-patch+yaml")


async def delete(kube: Kube, obj: Object) -> bool:
    """Delete one object; False if it was not there."""
    try:
        await kube.request("DELETE", path_of(obj), {"propagationPolicy": "Background"})
    except KubeError as error:
        if error.status == 404:
            return False
        raise
    return True


async def wait_for(
    kube: Kube, obj: Object, satisfied: Callable[[dict[str, Any]], bool], *, timeout: float, what: str
) -> dict[str, Any]:
    """Follow an object until it satisfies a predicate; raises `EnvironmentProblem` after `timeout` seconds."""
    last: dict[str, Any] = {}
    try:
        async with asyncio.timeout(timeout):
            while True:
                async for state in _states(kube, obj):
                    last = state
                    if satisfied(state):
                        return state
                await asyncio.sleep(0.1)  # the watch ended, or the object is not there yet
    except TimeoutError:
        raise EnvironmentProblem(f"{what} within {timeout:.0f} s.", fix=_hint(last)) from None


async def wait_gone(kube: Kube, obj: Object, *, timeout: float) -> None:
    """Wait until an object is no longer there."""
    await wait_for(kube, obj, lambda state: not state, timeout=timeout, what=f"{obj['kind']} is not gone")


async def _states(kube: Kube, obj: Object) -> AsyncIterator[dict[str, Any]]:
    """Yield the object as it is and after each change; an empty one when it is not there. Ends with the watch."""
    plural, namespaced = _PLURALS[obj["kind"]]
    name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace") if namespaced else None
    current = await kube.get(obj["apiVersion"], plural, name, namespace)
    yield current or {}
    if current is None:
        return
    try:
        async for event in kube.watch(obj["apiVersion"], plural, event_version(current), namespace):
            if event.object["metadata"].get("name") == name:
                yield {} if event.kind == "DELETED" else event.object
    except Expired:
        return


def event_version(obj: Object) -> str:
    """Return the resourceVersion to watch from."""
    return str(obj["metadata"]["resourceVersion"])


def _hint(state: Object) -> str:
    conditions = (state.get("status") or {}).get("conditions") or []
    bad = [c for c in conditions if c.get("status") == "False" and c.get("message")]
    return str(bad[0]["message"]) if bad else "Look at its events with kubectl describe."
