"""Security: `PeerAuthentication`."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.intents import MtlsMode

from .base import manifest, render


@render.register
def _(intent: MtlsMode) -> Rendered | Unsupported:
    if intent.ports and not intent.workload:
        return Unsupported("port-level mTLS modes need a workload")
    spec: dict[str, Any] = {"mtls": {"mode": intent.mode.upper()}}
    if intent.workload:
        spec["selector"] = {"matchLabels": {"app": intent.workload}}
    if intent.ports:
        spec["portLevelMtls"] = {str(port): {"mode": mode.upper()} for port, mode in intent.ports.items()}
    name = intent.workload or "default"
    return Rendered(objects=(manifest("security.istio.io/v1", "PeerAuthentication", name, intent.namespace, spec),))
