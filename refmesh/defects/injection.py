"""Defects in injection: who is in the mesh."""

from __future__ import annotations

from collections.abc import Callable

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _nothing_opts_out(sound: Callable[[], tuple[str, ...]]) -> Callable[[], tuple[str, ...]]:
    """Know no value that opts out."""
    _ = sound
    return lambda: ()


DEFECTS = (
    Defect(
        "opt-out-ignored",
        "Pods that opt out of injection are injected all the same.",
        "injection",
        "refmesh.injector.policy:opt_out_values",
        _nothing_opts_out,
    ),
)
