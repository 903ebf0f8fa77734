"""Linkerd's dispatcher and settings."""

from __future__ import annotations

from functools import singledispatch

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.settings import MeshSettings
from conformance.adapters.words import NO_WORDS
from conformance.intents import Intent

__all__ = ["POLICY", "LinkerdSettings", "render"]

POLICY = "policy.linkerd.io"


class LinkerdSettings(MeshSettings):
    """How this Linkerd was installed."""

    namespace: str = "linkerd"
    """Of its control plane; part of every identity."""


@singledispatch
def render(intent: Intent, settings: LinkerdSettings) -> Rendered | Unsupported:
    """The intent in Linkerd's words."""
    return Unsupported(f"{NO_WORDS} {type(intent).__name__}")
