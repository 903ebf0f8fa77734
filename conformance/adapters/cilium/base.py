"""Cilium's dispatcher and settings."""

from __future__ import annotations

from functools import singledispatch

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.settings import NamespacedName, Place, Settings
from conformance.adapters.words import NO_WORDS
from conformance.intents import Intent

__all__ = ["CiliumSettings", "render"]


class CiliumSettings(Settings):
    """How this Cilium was installed."""

    control_plane: NamespacedName = Place("kube-system", "cilium-operator")
    controller: str = ""
    """As of other meshes, see `MeshSettings`."""
    ztunnel: bool = False
    """Whether it was installed with `encryption.type=ztunnel`: namespaces are enrolled for mTLS by a label."""
    gateway_class: str = "cilium"
    """GatewayClass of its ingress."""


@singledispatch
def render(intent: Intent, settings: CiliumSettings) -> Rendered | Unsupported:
    """The intent in Cilium's words."""
    return Unsupported(f"{NO_WORDS} {type(intent).__name__}")
