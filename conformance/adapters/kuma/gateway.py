"""The ways in and out: the built-in gateway, by Gateway API."""

from __future__ import annotations

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered
from conformance.adapters.words import cannot
from conformance.intents import Ingress, OutsideHost, WayOut

from .base import KumaSettings, render

cannot(render, "what it lets out is a MeshPassthrough, which this adapter does not write yet", WayOut, OutsideHost)


@render.register
def _(intent: Ingress, settings: KumaSettings) -> Rendered:
    return gateway_api_words.ingress(intent, "kuma")
