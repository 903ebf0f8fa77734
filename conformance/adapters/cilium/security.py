"""Security: ztunnel encrypts between enrolled namespaces; no mode refuses or takes plaintext from others."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import MtlsMode

from .base import render

cannot(
    render,
    "namespaces are enrolled for mTLS as a whole (by the setting ztunnel); none can be made strict or permissive",
    MtlsMode,
)
