"""Defects in mTLS: who may connect, and with which certificate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _never_strict(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Where STRICT is in force, say PERMISSIVE."""

    def mode_in_force(*args: Any, **kwargs: Any) -> Any:
        mode = sound(*args, **kwargs)
        return type(mode).PERMISSIVE if mode is type(mode).STRICT else mode

    return mode_in_force


DEFECTS = (
    Defect(
        "strict-served-as-permissive",
        "STRICT workloads accept plaintext.",
        "mtls",
        "refmesh.discovery.policy:mode_in_force",
        _never_strict,
    ),
)
