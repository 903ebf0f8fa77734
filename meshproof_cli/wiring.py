"""Wires rooms together that may not import each other."""

from __future__ import annotations

from meshproof_cli.interrupts import end_like_ctrl_c

__all__ = ["load_knows_meshes"]


def load_knows_meshes() -> None:
    """Tell the load command line how a mesh's name becomes what it must know of the mesh; and to tidy up when told."""
    from chaos.meshing import meshing
    from load.cli import use_meshes

    end_like_ctrl_c()
    use_meshes(meshing)
