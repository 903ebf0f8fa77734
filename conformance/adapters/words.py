"""What the words of several meshes have in common: how an object and a duration are written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["duration", "manifest"]


def manifest(api_version: str, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """An object with this spec."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def duration(seconds: float) -> str:
    """Seconds as Istio and Gateway API write them, to the millisecond."""
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{round(seconds)}s"
