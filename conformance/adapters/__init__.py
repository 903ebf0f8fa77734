"""Adapters: one file a mesh. `load("refmesh")` gives the one the user names; others come by entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from reports.errors import UsageProblem

from .base import Adapter, Authority, Manifest, Proxy, Rendered, Rival, Unsupported
from .checked import Checked, said_by
from .cilium import Cilium
from .consul import Consul
from .gateway_api import GatewayApi
from .istio import Istio
from .kuma import Kuma
from .linkerd import Linkerd
from .none import NoMesh
from .refmesh import Refmesh
from .settings import settle

__all__ = ["GROUP", "Adapter", "Authority", "Manifest", "Proxy", "Rendered", "Rival", "Unsupported", "known", "load"]

GROUP = "meshproof.adapters"
"""Entry-point group for adapters of other meshes."""

_BUILT_IN: Mapping[str, Callable[..., Adapter]] = {
    "cilium": Cilium,
    "consul": Consul,
    "gateway-api": GatewayApi,
    "istio": Istio,
    "kuma": Kuma,
    "linkerd": Linkerd,
    "refmesh": Refmesh,
    "none": NoMesh,
}


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def known() -> tuple[str, ...]:
    """Every mesh name that `load` takes, sorted, `none` last."""
    names = {*_BUILT_IN, *_offered()} - {NoMesh.name}
    return (*sorted(names), NoMesh.name)


def load(name: str, settings: Mapping[str, Any] | None = None) -> Adapter:
    """The adapter of a mesh, with what the user says of that mesh.

    `UsageProblem` lists the known meshes where there is none, says why an adapter is broken, or names each bad setting.
    """
    if name in _BUILT_IN:
        return _made(_BUILT_IN[name], name, settings or {})
    point = _offered().get(name)
    if point is None:
        raise UsageProblem(
            f"no mesh is called {name!r}", fix=f"known meshes: {', '.join(known())}; others by entry point {GROUP}"
        )
    try:
        adapter = _made(point.load(), name, settings or {})
        if not isinstance(adapter, Adapter):
            raise UsageProblem(f"the adapter {name!r} ({point.value}) is not an Adapter: {_lacking(adapter)}")
        return Checked(adapter, name)
    except UsageProblem:
        raise
    except (Exception, SystemExit) as error:  # whoever exits would end pytest, and without a word
        raise UsageProblem(f"the adapter {name!r} ({point.value}) cannot be loaded: {said_by(error)}") from error


def _made(factory: Callable[..., Adapter], name: str, settings: Mapping[str, Any]) -> Adapter:
    model = getattr(factory, "Settings", None)
    if model is not None:
        return factory(settle(model, settings, f"the mesh {name}"))
    if settings:
        raise UsageProblem(f"the mesh {name} takes no settings, and was given {', '.join(settings)}")
    return factory()


def _lacking(thing: object) -> str:
    """Which members of `Adapter` an object has not got."""
    members = [one for one in vars(Adapter) if not one.startswith("_")]
    return f"it has no {', '.join(one for one in members if not hasattr(thing, one))} (see conformance.adapters.base)"
