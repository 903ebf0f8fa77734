"""The dispatcher, and the parts that every route has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import manifest
from conformance.intents import Backend, Intent

__all__ = ["GROUP", "VERSION", "backend_ref", "parent_ref", "render", "route"]

GROUP = "gateway.networking.k8s.io"
VERSION = f"{GROUP}/v1"


@singledispatch
def render(intent: Intent) -> Rendered | Unsupported:
    """The intent as Gateway API's objects; what no renderer is registered for is unsupported."""
    return Unsupported(f"Gateway API has no words for {type(intent).__name__}")


def parent_ref(service: str, port: int, namespace: str = "") -> dict[str, Any]:
    """The Service that a route attaches to."""
    found: dict[str, Any] = {"group": "", "kind": "Service", "name": service, "port": port}
    return found | ({"namespace": namespace} if namespace else {})


def backend_ref(backend: Backend, port: int, weight: int | None = None, namespace: str = "") -> dict[str, Any]:
    """A reference to a backend's Service."""
    found: dict[str, Any] = {"name": backend.service, "port": port}
    if namespace:
        found["namespace"] = namespace
    return found if weight is None else {**found, "weight": weight}


def route(
    kind: str, name: str, namespace: str, parent: dict[str, Any], rules: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """An HTTPRoute or a GRPCRoute."""
    return manifest(VERSION, kind, name, namespace, {"parentRefs": [parent], "rules": list(rules)})
