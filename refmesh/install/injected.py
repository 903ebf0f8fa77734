"""What injected pods' specifications tell of their proxies: who runs an old one, and whose memory may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refmesh.injector.patch import TLS_MODE_LABEL
from refmesh.injector.policy import PROXY
from refmesh.injector.resources import quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from refmesh.kubeclient import Kube

__all__ = ["cramped", "outdated", "proxy", "running", "some_of"]

Object = dict[str, Any]
_MOST_NAMES = 5
_ALONE, _OF_PORT = 70_000_000, 120_000
"""Bytes of a proxy that knows no Service, and of each port of one. Measured (RSS): 74 MB with 20 ports, 197 MB with
1,000, 388 MB with 2,600; 15 % more while every listener is there twice, the old one until it has drained."""
_FULL = 0.7
"""So much of its limit a proxy may need in quiet."""


async def running(kube: Kube) -> list[Object]:
    """Return the injected pods that run."""
    injected = await kube.list("v1", "pods", selector=f"{TLS_MODE_LABEL}=istio")
    return [pod for pod in injected if (pod.get("status") or {}).get("phase") == "Running"]


def some_of(pods: Sequence[Mapping[str, Any]]) -> str:
    """Return the names of the first few."""
    named = [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods[:_MOST_NAMES]]
    return ", ".join(named) + (" and others" if len(pods) > _MOST_NAMES else "")


def outdated(pods: Sequence[Mapping[str, Any]], image: str) -> str:
    """Return who runs another proxy than that of this image, in a sentence; empty where nobody does."""
    found = [pod for pod in pods if (sidecar := proxy(pod)) and sidecar.get("image") != image]
    if not found:
        return ""
    return (
        f"{len(found)} of {len(pods)} proxies run another image than the control plane's, {image}; "
        f"restart their workloads: {some_of(found)}"
    )


def cramped(pods: Sequence[Mapping[str, Any]], services: Iterable[Mapping[str, Any]]) -> str:
    """Return whose proxy has little memory for so many Services, in a sentence; empty where nobody's has."""
    ports = sum(port.get("protocol", "TCP") == "TCP" for one in services for port in one["spec"].get("ports") or ())
    need = _ALONE + _OF_PORT * ports
    found = [pod for pod in pods if (limit := _limit(pod)) is not None and need > _FULL * limit]
    if not found:
        return ""
    return (
        f"{ports} ports of Services take about {need // 1_000_000} MB of each proxy, and {len(found)} of {len(pods)} "
        f"proxies are limited to hardly more; raise sidecar.istio.io/proxyMemoryLimit: {some_of(found)}"
    )


def _limit(pod: Mapping[str, Any]) -> float | None:
    """How many bytes its proxy may have; None where nothing limits it."""
    limits = (proxy(pod).get("resources") or {}).get("limits") or {}
    found = quantity(str(limits.get("memory", "")))
    return float(found) if found is not None else None


def proxy(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container of its proxy; empty where it has none."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return next((one for one in containers if one.get("name") == PROXY), {})
