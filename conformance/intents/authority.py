"""What a mesh's operator does to the certificate authority and to the mesh as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent
from .security import Mode

__all__ = ["MeshMtlsMode", "RotateRoot"]


@dataclass(frozen=True)
class RotateRoot(Intent):
    """Replace the authority's root, and the issuer below it, without an outage.

    Rendered as objects that are deleted when the rotation is over. `request` is new with each rotation.
    """

    request: str


@dataclass(frozen=True)
class MeshMtlsMode(Intent):
    """Whether plaintext is refused where neither namespace nor workload says anything."""

    mode: Mode
