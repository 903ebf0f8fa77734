"""The ways in and out: Consul's API gateway, by Gateway API."""

from __future__ import annotations

from dataclasses import replace

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered
from conformance.adapters.gateway_api_words.base import GROUP
from conformance.adapters.words import cannot
from conformance.intents import Ingress, OutsideHost, WayOut

from .base import ConsulSettings, render, spoken

VERSION = f"{GROUP}/v1beta1"
"""Consul's chart brings Gateway API's definitions with it, up to 1.9 mostly without v1; all others serve this too."""

cannot(render, "whether proxies let out what is not registered is said for the whole mesh at once", WayOut, OutsideHost)


@render.register
def _(intent: Ingress, settings: ConsulSettings) -> Rendered:
    made = gateway_api_words.ingress(intent, settings.gateway_class, version=VERSION)
    return replace(made, objects=(*spoken(intent.namespace, intent.service), *made.objects))
