"""Identity: what Linkerd does not offer to callers from outside."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest

from .base import render

cannot(render, "the identity service speaks a protocol of its own, not Istio's CreateCertificate", CertificateRequest)
