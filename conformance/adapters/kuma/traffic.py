"""Traffic: `MeshCircuitBreaker`. Its mark is a route of the same service."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import cannot, duration
from conformance.intents import ConnectionLimit, OutlierEjection, RateLimit, RetryBudget

from .base import KumaSettings, mesh_service, policy, render
from .routing import http_route, to_service

cannot(render, "retries are capped by number, not as a share of the requests in flight", RetryBudget)
cannot(render, "requests are limited at each proxy of a server, not for a service", RateLimit)


@render.register
def _(intent: OutlierEjection, settings: KumaSettings) -> Rendered | Unsupported:
    detection = {
        "interval": duration(intent.interval),
        "baseEjectionTime": duration(intent.ejection),
        "maxEjectionPercent": intent.most_percent,
        "detectors": {"totalFailures": {"consecutive": intent.consecutive}},
    }
    return _broken(settings, intent, {"outlierDetection": detection})


@render.register
def _(intent: ConnectionLimit, settings: KumaSettings) -> Rendered | Unsupported:
    limits = {
        "maxConnections": intent.connections,
        "maxPendingRequests": intent.pending,
        "maxRequests": intent.requests,
    }
    return _broken(settings, intent, {"connectionLimits": limits})


def _broken(
    settings: KumaSettings, intent: OutlierEjection | ConnectionLimit, default: Manifest
) -> Rendered | Unsupported:
    """A circuit breaker for a service, and the route that shows its mark."""
    target = mesh_service(settings, intent.namespace, intent.service)
    spec = {"to": [{"targetRef": target, "default": dict(default)}]}
    breaker = policy(settings, "MeshCircuitBreaker", intent.service, intent.namespace, spec)
    if intent.marker is None:
        return Rendered(objects=(breaker,))
    rules = (to_service(intent.service),)
    routed = http_route(settings, intent.namespace, intent.service, intent.port, rules, intent.marker)
    return routed if isinstance(routed, Unsupported) else Rendered(objects=(breaker, *routed.objects))
