"""Linkerd's dispatcher and settings."""

from __future__ import annotations

from functools import singledispatch

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.settings import MeshSettings
from conformance.adapters.words import NO_WORDS
from conformance.intents import Intent

__all__ = ["POLICY", "LinkerdSettings", "on_namespace", "render"]

POLICY = "policy.linkerd.io"


class LinkerdSettings(MeshSettings):
    """How this Linkerd was installed."""

    namespace: str = "linkerd"
    """Of its control plane; part of every identity."""


@singledispatch
def render(intent: Intent, settings: LinkerdSettings) -> Rendered | Unsupported:
    """The intent in Linkerd's words."""
    return Unsupported(f"{NO_WORDS} {type(intent).__name__}")


def on_namespace(name: str, setting: str, value: str) -> Manifest:
    """A setting of the proxies of a namespace. Its pods take it over when they are created."""
    annotations = {f"config.linkerd.io/{setting}": value}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}}
