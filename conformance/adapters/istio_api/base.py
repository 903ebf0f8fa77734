"""The dispatcher, and how Istio writes objects and durations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.intents import Intent

__all__ = ["duration", "manifest", "render"]


@singledispatch
def render(intent: Intent) -> Rendered | Unsupported:
    """The intent as objects and labels; what no renderer is registered for is unsupported."""
    return Unsupported(f"no words for {type(intent).__name__}")


def manifest(api_version: str, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """An object with this spec."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def duration(seconds: float) -> str:
    """Seconds as Istio writes them, to the millisecond."""
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{round(seconds)}s"
