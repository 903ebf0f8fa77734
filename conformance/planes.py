"""Whether there is a mesh, and where its control plane runs: two questions, and an adapter may know only the first."""

from __future__ import annotations

from conformance.adapters import Adapter
from conformance.context import NotExpressible

__all__ = ["is_mesh", "plane_of"]

NONE = "none"
"""The adapter of the negative control: there is no mesh, and so no control plane."""


def is_mesh(adapter: Adapter) -> bool:
    """Whether a mesh is judged at all, whoever knows where its control plane is."""
    return adapter.name != NONE


def plane_of(adapter: Adapter) -> tuple[str, str] | None:
    """Namespace and name of the control plane's Deployment; None where there is no mesh.

    Raises `NotExpressible` where there is one and nobody has said where: that says nothing against it.
    """
    where = adapter.control_plane()
    if where is None and is_mesh(adapter):
        raise NotExpressible("nobody has said where its control plane is: --set control-plane=NAMESPACE/NAME")
    return where
