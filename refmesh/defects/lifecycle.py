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


DEFECTS = (
    Defect(
        "no-drain",
        "The proxy ends at once when its pod is told to, with requests under way.",
        "lifecycle",
        "refmesh.injector.containers:hooks",
        _at_once,
    ),
)
