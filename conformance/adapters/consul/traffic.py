"""Traffic: what a client does about its upstreams, kept in the client's `ServiceDefaults`."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import cannot, duration, nameless
from conformance.intents import ConnectionLimit, NoRetries, OutlierEjection, RateLimit, RetryBudget

from .base import CLIENT, ConsulSettings, entry, render, spoken
from .routing import marked_router

cannot(render, "retries are capped by number, not as a share of the requests in flight", RetryBudget)
cannot(render, "nothing is tried again by default: there is nothing to set aside", NoRetries)
cannot(render, "requests are limited at each server, in the Enterprise edition, not for a service", RateLimit)


@render.register
def _(intent: OutlierEjection, settings: ConsulSettings) -> Rendered | Unsupported:
    check = {
        "interval": duration(intent.interval),
        "maxFailures": intent.consecutive,
        "enforcingConsecutive5xx": 100,
        "maxEjectionPercent": intent.most_percent,
        "baseEjectionTime": duration(intent.ejection),
    }
    return _of_client(intent, {"passiveHealthCheck": check})


@render.register
def _(intent: ConnectionLimit, settings: ConsulSettings) -> Rendered | Unsupported:
    limits = {
        "maxConnections": intent.connections,
        "maxPendingRequests": intent.pending,
        "maxConcurrentRequests": intent.requests,
    }
    return _of_client(intent, {"limits": limits})


def _of_client(intent: OutlierEjection | ConnectionLimit, upstream: Manifest) -> Rendered | Unsupported:
    """What the suite's client does about one of its upstreams, and the route that shows its mark."""
    marked = [intent.marker.backend] if intent.marker else []
    if refused := nameless(*marked):
        return refused
    override = {"name": intent.service, "protocol": "http", **upstream}
    spec = {"protocol": "http", "upstreamConfig": {"overrides": [override]}}
    client = entry("ServiceDefaults", CLIENT, intent.namespace, spec)
    speaking = spoken(intent.namespace, intent.service, *(one.service for one in marked))
    router = marked_router(intent.namespace, intent.service, intent.marker)
    return Rendered(objects=(*speaking, client, *router))
