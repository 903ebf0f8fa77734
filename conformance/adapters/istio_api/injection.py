"""Who is in the mesh: labels on namespaces and pods."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.intents import Bypass, Inject, NoInject, Scope

from .base import render


@render.register
def _(intent: Inject) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        return Rendered(labels={"istio-injection": "enabled"}, exports="networking.istio.io/exportTo")
    return Rendered(labels={"sidecar.istio.io/inject": "true"})


@render.register
def _(intent: NoInject) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        return Rendered(labels={"istio-injection": "disabled"})
    return Rendered(labels={"sidecar.istio.io/inject": "false"})


@render.register
def _(intent: Bypass) -> Rendered | Unsupported:
    ports = {"excludeInboundPorts": intent.inbound, "excludeOutboundPorts": intent.outbound}
    return Rendered(
        annotations={
            f"traffic.sidecar.istio.io/{name}": ",".join(map(str, numbers))
            for name, numbers in ports.items()
            if numbers
        }
    )
