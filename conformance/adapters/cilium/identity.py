"""Identity: what Cilium does not offer to callers from outside."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest

from .base import render

cannot(render, "there is no certificate authority that workloads ask", CertificateRequest)
