"""Who is in the mesh: everybody on the node. With ztunnel, namespaces are enrolled for mTLS."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import Bypass, Inject, NoInject, Scope

from .base import CiliumSettings, render

PER_NODE = "pods are not changed: every pod on a node is served by the node's proxy"
ENROLLED = "io.cilium/mtls-enabled"


@render.register
def _(intent: Inject, settings: CiliumSettings) -> Rendered | Unsupported:
    if intent.scope is Scope.POD:
        return Unsupported(PER_NODE)
    return Rendered(labels={ENROLLED: "true"} if settings.ztunnel else {}, per_node=True)


@render.register
def _(intent: NoInject, settings: CiliumSettings) -> Rendered | Unsupported:
    return Unsupported(PER_NODE)


cannot(render, "single ports of a pod cannot be kept out of what the node's proxy serves", Bypass)
