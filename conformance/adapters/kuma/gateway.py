"""The way in from outside: the built-in gateway, by Gateway API."""

from __future__ import annotations

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered
from conformance.intents import Ingress

from .base import KumaSettings, render


@render.register
def _(intent: Ingress, settings: KumaSettings) -> Rendered:
    return gateway_api_words.ingress(intent, "kuma")
