"""Wires rooms together that may not import each other."""

from __future__ import annotations

from meshproof_cli.interrupts import end_like_ctrl_c

__all__ = ["load_knows_meshes"]


def load_knows_meshes() -> None:
    """Tell the load command line how a mesh's name and settings become what it must know; and to tidy up when told."""
    from chaos.meshing import wanted
    from load.cli import use_meshes

    end_like_ctrl_c()
    use_meshes(wanted)
