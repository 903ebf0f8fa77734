"""Security: `mutualTLSMode` of a service."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import by_itself
from conformance.intents import MtlsMode, MutualTls

from .base import ConsulSettings, entry, render

by_itself(render, MutualTls)


@render.register
def _(intent: MtlsMode, settings: ConsulSettings) -> Rendered | Unsupported:
    """Permissive also needs `allowEnablingPermissiveMutualTLS` in the Mesh entry, which belongs to the whole mesh."""
    if not intent.workload:
        return Unsupported("mTLS modes are for one service or for the whole mesh, not for a namespace")
    if intent.ports:
        return Unsupported("mTLS modes are for all ports of a service")
    spec = {"protocol": "http", "mutualTLSMode": str(intent.mode)}
    return Rendered(objects=(entry("ServiceDefaults", intent.workload, intent.namespace, spec),))
