"""The way in from outside: Consul's API gateway, by Gateway API."""

from __future__ import annotations

from dataclasses import replace

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered
from conformance.intents import Ingress

from .base import ConsulSettings, render, spoken


@render.register
def _(intent: Ingress, settings: ConsulSettings) -> Rendered:
    made = gateway_api_words.ingress(intent, "consul")
    return replace(made, objects=(*spoken(intent.namespace, intent.service), *made.objects))
