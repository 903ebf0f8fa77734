"""From a mesh's adapter to what chaos and load need of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.adapters import Adapter, Unsupported, load
from conformance.intents import Inject, Mode, MtlsMode, RouteTimeout, Scope
from load.meshing import Meshing

__all__ = ["meshing", "route_timeout"]


def meshing(mesh: str | Adapter) -> Meshing:
    """How pods get into a mesh and how a namespace is made strict. UsageProblem for a mesh nobody knows."""
    adapter = load(mesh) if isinstance(mesh, str) else mesh
    inject = adapter.render(Inject(Scope.NAMESPACE))
    if isinstance(inject, Unsupported):
        inject = adapter.render(Inject(Scope.POD))
        if isinstance(inject, Unsupported):
            return Meshing(adapter.name, strict=lambda namespace: _strict(adapter, namespace))
        return Meshing(
            adapter.name,
            pod_labels=inject.labels,
            pod_annotations=inject.annotations,
            strict=lambda namespace: _strict(adapter, namespace),
        )
    return Meshing(
        adapter.name,
        namespace_labels=inject.labels,
        namespace_annotations=inject.annotations,
        strict=lambda namespace: _strict(adapter, namespace),
    )


def _strict(adapter: Adapter, namespace: str) -> tuple[Mapping[str, Any], ...] | None:
    rendered = adapter.render(MtlsMode(namespace, Mode.STRICT))
    return None if isinstance(rendered, Unsupported) else rendered.objects


def route_timeout(adapter: Adapter, intent: RouteTimeout) -> tuple[Mapping[str, Any], ...]:
    """The objects that make the mesh cut requests off; empty where it cannot, then the client has to."""
    rendered = adapter.render(intent)
    return () if isinstance(rendered, Unsupported) else rendered.objects
