"""Security: ztunnel encrypts between enrolled namespaces; no mode refuses or takes plaintext from others."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import MtlsMode, MutualTls

from .base import CiliumSettings, render

cannot(
    render,
    "namespaces are enrolled for mTLS as a whole (by the setting ztunnel); none can be made strict or permissive",
    MtlsMode,
)


@render.register
def _(intent: MutualTls, settings: CiliumSettings) -> Rendered | Unsupported:
    if not settings.ztunnel:
        return Unsupported("there is no mTLS between workloads without ztunnel: install it, and --set ztunnel=true")
    return Rendered()
