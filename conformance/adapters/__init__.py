"""Adapters: one file a mesh. `load("refmesh")` gives the one the user names; others come by entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from reports.errors import UsageProblem

from .base import Adapter, Authority, Manifest, Rendered, Unsupported
from .none import NoMesh
from .refmesh import Refmesh

__all__ = ["GROUP", "Adapter", "Authority", "Manifest", "Rendered", "Unsupported", "known", "load"]

GROUP = "meshproof.adapters"
"""Entry-point group for adapters of other meshes."""

_BUILT_IN: Mapping[str, Callable[[], Adapter]] = {"refmesh": Refmesh, "none": NoMesh}


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def known() -> tuple[str, ...]:
    """Every mesh name that `load` takes, sorted, `none` last."""
    names = {*_BUILT_IN, *_offered()} - {NoMesh.name}
    return (*sorted(names), NoMesh.name)


def load(name: str) -> Adapter:
    """The adapter of a mesh. `UsageProblem` lists the known meshes where there is none, or says why it is broken."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    point = _offered().get(name)
    if point is None:
        raise UsageProblem(
            f"no mesh is called {name!r}", fix=f"known meshes: {', '.join(known())}; others by entry point {GROUP}"
        )
    try:
        adapter = point.load()()
    except Exception as error:
        raise UsageProblem(f"the adapter {name!r} ({point.value}) cannot be loaded: {error}") from error
    if not isinstance(adapter, Adapter):
        raise UsageProblem(f"the adapter {name!r} ({point.value}) is not an Adapter: see conformance.adapters.base")
    return adapter
