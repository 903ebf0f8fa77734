"""Who is in the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .base import Intent

__all__ = ["Bypass", "Inject", "NoInject", "Scope"]


class Scope(StrEnum):
    """What an injection intent is written on."""

    NAMESPACE = "namespace"
    POD = "pod"


@dataclass(frozen=True)
class Inject(Intent):
    """Put what the scope covers into the mesh. Rendered as labels and annotations."""

    scope: Scope
    workload: str = ""
    """The label `app` of the pods that opt in, where it is known: a mesh that denies by default lets them be called."""
    service: str = ""
    """The Service by which a mesh knows these pods, where that is not called like `workload`."""


@dataclass(frozen=True)
class NoInject(Intent):
    """Keep what the scope covers out of the mesh, against a wider opt-in."""

    scope: Scope


@dataclass(frozen=True)
class Bypass(Intent):
    """Let traffic on some ports pass by the proxy of one pod. Rendered as labels and annotations of the pod."""

    inbound: tuple[int, ...] = ()
    """The pod's own ports."""
    outbound: tuple[int, ...] = ()
    """Ports of those whom it calls."""
