"""The dispatcher, and how Istio writes objects and durations."""

from __future__ import annotations

from functools import singledispatch

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import duration, manifest
from conformance.intents import Intent

__all__ = ["duration", "manifest", "render"]


@singledispatch
def render(intent: Intent) -> Rendered | Unsupported:
    """The intent as objects and labels; what no renderer is registered for is unsupported."""
    return Unsupported(f"no words for {type(intent).__name__}")
