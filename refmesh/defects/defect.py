"""What a defect is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Defect"]


@dataclass(frozen=True)
class Defect:
    """One fault.

    `make` gets the sound function of the seam, `module:function` or `module:Class.method`, and gives one that is wrong
    in exactly one way.
    """

    name: str
    summary: str
    capability: str
    seam: str
    make: Callable[[Callable[..., Any]], Callable[..., Any]]
