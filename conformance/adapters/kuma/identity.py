"""Identity: what Kuma does not offer to callers from outside."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest

from .base import render

cannot(render, "certificates come with the proxy's configuration: there is no authority to ask", CertificateRequest)
