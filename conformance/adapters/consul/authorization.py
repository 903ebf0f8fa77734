"""Authorization: what Consul's intentions, which are by service, do not say."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import Access, TokenIssuer, UnreadableAccess

from .base import render

cannot(render, "intentions are between services, and know neither service accounts nor Kubernetes namespaces", Access)
cannot(render, "tokens are asked for by an intention, which is between services", TokenIssuer)
cannot(render, "an intention has no conditions that could be unknown", UnreadableAccess)
