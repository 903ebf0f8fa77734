"""The way in from outside: Envoys of the node, by Gateway API."""

from __future__ import annotations

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered
from conformance.intents import Ingress

from .base import CiliumSettings, render


@render.register
def _(intent: Ingress, settings: CiliumSettings) -> Rendered:
    return gateway_api_words.ingress(intent, "cilium")
