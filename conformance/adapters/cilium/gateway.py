"""The ways in and out: Envoys of the node, by Gateway API."""

from __future__ import annotations

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered
from conformance.adapters.words import cannot
from conformance.intents import Ingress, OutsideHost, WayOut

from .base import CiliumSettings, render

cannot(
    render,
    "it registers no hosts: what a workload may call is a network policy by address or name",
    WayOut,
    OutsideHost,
)


@render.register
def _(intent: Ingress, settings: CiliumSettings) -> Rendered:
    return gateway_api_words.ingress(intent, settings.gateway_class)
