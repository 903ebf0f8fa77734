"""Telemetry: what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import LogAccesses, RequestMetrics, TraceRequests

from .base import render

cannot(render, "its proxies count by Envoy cluster, without the identity of the one who asks", RequestMetrics)
cannot(render, "traces need a listener of one's own in the proxies' bootstrap", TraceRequests)
cannot(render, "accesses are logged as the proxy defaults of the whole mesh say", LogAccesses)
