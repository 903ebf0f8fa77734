"""Who may speak to whom, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .base import Intent

__all__ = ["Mode", "MtlsMode", "MutualTls"]


class Mode(StrEnum):
    """How a workload treats plaintext."""

    STRICT = "strict"
    PERMISSIVE = "permissive"


@dataclass(frozen=True)
class MtlsMode(Intent):
    """Whether plaintext is refused: for a namespace, or for the workload with the label `app: <workload>` in it."""

    namespace: str
    mode: Mode
    workload: str = ""
    ports: Mapping[int, Mode] = field(default_factory=dict)
    """Exceptions by container port; they need a workload."""


@dataclass(frozen=True)
class MutualTls(Intent):
    """What meshed workloads of a namespace send each other goes over mTLS: a mesh does so by itself, or cannot."""

    namespace: str
