"""What a load measurement must know of a mesh: how pods get into it, and how a namespace is made strict.

Handed in by the caller, because the adapters that know it belong to another room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Meshing"]


def _nothing(_: str) -> tuple[Mapping[str, Any], ...] | None:
    return None


@dataclass(frozen=True)
class Meshing:
    """One mesh, as seen by whoever puts pods into it."""

    mesh: str
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    namespace_annotations: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    strict: Callable[[str], tuple[Mapping[str, Any], ...] | None] = _nothing
    """The objects that make a namespace accept mutual TLS only; None where the mesh cannot say so."""

    @property
    def injects(self) -> bool:
        """Whether there is anything to put pods into."""
        marks = (self.namespace_labels, self.namespace_annotations, self.pod_labels, self.pod_annotations)
        return any(marks)
