"""Defects in the life cycle: what becomes of requests when pods and proxies end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]

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
)
