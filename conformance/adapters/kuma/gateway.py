"""The ways in and out: the built-in gateway, by Gateway API, until Kuma 3 took it away."""

from __future__ import annotations

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import Ingress, OutsideHost, WayOut

from .base import KumaSettings, render

cannot(render, "what it lets out is a MeshPassthrough, which this adapter does not write yet", WayOut)
cannot(render, "a MeshExternalService is called at an address of the mesh's own, not at that of the host", OutsideHost)


@render.register
def _(intent: Ingress, settings: KumaSettings) -> Rendered | Unsupported:
    if settings.version == "3":
        return Unsupported("it brings no gateway of its own since Kuma 3: one of the user's is meshed like a workload")
    return gateway_api_words.ingress(intent, settings.gateway_class)
