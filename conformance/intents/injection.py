"""Who is in the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .base import Intent

__all__ = ["Inject", "NoInject", "Scope"]


class Scope(StrEnum):
    """What an injection intent is written on."""

    NAMESPACE = "namespace"
    POD = "pod"


@dataclass(frozen=True)
class Inject(Intent):
    """Put what the scope covers into the mesh. Rendered as labels and annotations."""

    scope: Scope


@dataclass(frozen=True)
class NoInject(Intent):
    """Keep what the scope covers out of the mesh, against a wider opt-in."""

    scope: Scope
