"""Defects in the life cycle: what becomes of requests when pods and proxies end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from refmesh.agent.places import RUN_DIR
from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]

_USERS = {"VirtualService", "DestinationRule", "HTTPRoute", "GRPCRoute"}
_KILL = "import os\nos.kill(-1, 9)"


def _at_once(sound: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """End every process of the sidecar as soon as the pod is told to end."""
    return lambda: {**sound(), "preStop": {"exec": {"command": ["python", "-c", _KILL]}}}


_ASK_CONTROL_PLANE = "import socket\nsocket.create_connection(('refmesh.refmesh-system.svc', 15011), 1).close()"


def _hangs_on_the_control_plane(sound: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Have the kubelet restart a sidecar that does not reach the control plane."""
    probe = {
        "exec": {"command": ["python", "-c", _ASK_CONTROL_PLANE]},
        "periodSeconds": 1,
        "timeoutSeconds": 2,
        "failureThreshold": 1,
        "initialDelaySeconds": 5,
    }
    return lambda: {**sound(), "livenessProbe": probe}


_ONCE = f"""
import os, pathlib, signal
lived = pathlib.Path("{RUN_DIR}/lived")
if lived.exists():
    signal.pause()
lived.touch()
os.execvp("python", ["python", "-m", "refmesh.agent"])
"""


def _first_life_only(sound: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """Have a proxy that was restarted do nothing."""
    _ = sound
    return lambda: ["python", "-c", _ONCE]


def _hook_stays(sound: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    """Take everything off the cluster but what has the API server ask the injector."""

    async def delete(kube: Any, obj: Any) -> bool:
        return obj["kind"] != "MutatingWebhookConfiguration" and await sound(kube, obj)

    return delete


def _once_is_always(sound: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Take a workload for one of the mesh for ever, once a pod of it was."""
    joined: set[tuple[str, str]] = set()

    def in_mesh(pod: Any) -> bool:
        workload = (pod.namespace, pod.name.rsplit("-", 2)[0])  # of a Deployment's pod
        if sound(pod):
            joined.add(workload)
        return workload in joined

    return in_mesh


def _deaf_to_deletions(sound: Callable[[Any, str, Any], bool]) -> Callable[[Any, str, Any], bool]:
    """Keep what users wrote in force when they delete it."""

    def drop(self: Any, source: str, key: Any) -> bool:
        return source not in _USERS and sound(self, source, key)

    return drop


DEFECTS = (
    Defect(
        "control-plane-loss-stops-traffic",
        "A proxy that does not reach the control plane is restarted, and traffic with it.",
        "lifecycle",
        "refmesh.injector.containers:health",
        _hangs_on_the_control_plane,
    ),
    Defect(
        "no-drain",
        "The proxy ends at once when its pod is told to, with requests under way.",
        "lifecycle",
        "refmesh.injector.containers:hooks",
        _at_once,
    ),
    Defect(
        "crashed-proxy-stays-away",
        "A proxy that was restarted does nothing.",
        "lifecycle",
        "refmesh.injector.containers:agent_command",
        _first_life_only,
    ),
    Defect(
        "leaving-unnoticed",
        "A workload that leaves the mesh is still spoken to as one of it.",
        "lifecycle",
        "refmesh.discovery.endpoints:in_mesh",
        _once_is_always,
    ),
    Defect(
        "uninstall-leaves-webhook",
        "Uninstalling leaves the injector's webhook behind.",
        "lifecycle",
        "refmesh.install.installer:delete",
        _hook_stays,
    ),
    Defect(
        "deleted-configuration-kept",
        "A route stays in force when it is deleted.",
        "lifecycle",
        "refmesh.config.store:Store.drop",
        _deaf_to_deletions,
    ),
)
