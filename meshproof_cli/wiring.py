"""Wires rooms together that may not import each other."""

from __future__ import annotations

__all__ = ["load_knows_meshes"]


def load_knows_meshes() -> None:
    """Tell the load command line how a mesh's name becomes what it must know of the mesh."""
    from chaos.meshing import meshing
    from load.cli import use_meshes

    use_meshes(meshing)
