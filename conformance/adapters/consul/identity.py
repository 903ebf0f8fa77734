"""Identity: what Consul does not offer to callers from outside."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest

from .base import render

cannot(render, "certificates come from Consul's own API, not by Istio's CreateCertificate", CertificateRequest)
