"""Traffic: Gateway API routes, `CiliumEnvoyConfig` for circuit breaking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import cannot, manifest, nameless
from conformance.intents import (
    BackendGrant,
    ConnectionLimit,
    EachRequest,
    InLocality,
    LocalityFailover,
    NoRetries,
    OutlierEjection,
    RateLimit,
    RequestRoute,
    RetryBudget,
    RoundRobin,
    RouteTimeout,
    StickyHeader,
    WeightedRoute,
)

from .base import CiliumSettings, render
from .envoy import cluster, listener, marked_route, resources, route_to

Route = WeightedRoute | RouteTimeout | BackendGrant | EachRequest
Policy = OutlierEjection | ConnectionLimit | RoundRobin | StickyHeader

cannot(render, "which zone a host is in is its node's alone", InLocality, LocalityFailover)
cannot(render, "only Envoy configuration of one's own counts retries against the requests in flight", RetryBudget)
cannot(render, "nothing is tried again by default: there is nothing to set aside", NoRetries)
cannot(render, "only filters of Envoy's own configuration limit requests to a service by rate", RateLimit)


@render.register(WeightedRoute)
@render.register(RouteTimeout)
@render.register(BackendGrant)
@render.register(EachRequest)
def _(
    intent: WeightedRoute | RouteTimeout | BackendGrant | EachRequest, settings: CiliumSettings
) -> Rendered | Unsupported:
    return gateway_api_words.render(intent)


@render.register
def _(intent: RequestRoute, settings: CiliumSettings) -> Rendered | Unsupported:
    if intent.parent_namespace:
        return Unsupported("only routes in the service's own namespace are followed")
    return gateway_api_words.render(intent)


@render.register
def _(intent: OutlierEjection, settings: CiliumSettings) -> Rendered | Unsupported:
    detection = {
        "consecutive_5xx": intent.consecutive,
        "enforcing_consecutive_5xx": 100,
        "interval": _seconds(intent.interval),
        "base_ejection_time": _seconds(intent.ejection),
        "max_ejection_percent": intent.most_percent,
    }
    return _envoy(intent, {"outlier_detection": detection})


@render.register
def _(intent: ConnectionLimit, settings: CiliumSettings) -> Rendered | Unsupported:
    """The node's proxy is everybody's on the node: its cap is for all clients there together."""
    threshold = {
        "priority": "DEFAULT",
        "max_connections": intent.connections,
        "max_pending_requests": intent.pending,
        "max_requests": intent.requests,
    }
    return _envoy(intent, {"circuit_breakers": {"thresholds": [threshold]}})


@render.register
def _(intent: RoundRobin, settings: CiliumSettings) -> Rendered | Unsupported:
    return _envoy(intent, {"lb_policy": "ROUND_ROBIN"})


@render.register
def _(intent: StickyHeader, settings: CiliumSettings) -> Rendered | Unsupported:
    return _envoy(intent, {"lb_policy": "RING_HASH"}, intent.header)


def _envoy(intent: Policy, policy: Manifest, header: str = "") -> Rendered | Unsupported:
    """A listener in front of the service, with the policy on the service's cluster and the mark among its routes."""
    marked = [intent.marker.backend] if intent.marker else []
    if refused := nameless(*marked):
        return refused
    names = [intent.service, *(one.service for one in marked)]
    routes = [marked_route(intent.marker, intent.namespace, intent.port)] if intent.marker else []
    routes.append(route_to(intent.namespace, intent.service, intent.port, header))
    clusters = [
        cluster(intent.namespace, name, intent.port, policy if name == intent.service else {}) for name in names
    ]
    spec = {
        "services": [{"name": intent.service, "namespace": intent.namespace, "ports": [intent.port]}],
        "backendServices": [_backend(intent, name) for name in names],
        "resources": resources(listener(intent.service), intent.service, routes, clusters),
    }
    made = manifest("cilium.io/v2", "CiliumEnvoyConfig", intent.service, intent.namespace, spec)
    return Rendered(objects=(made,))


def _backend(intent: Policy, name: str) -> Mapping[str, Any]:
    return {"name": name, "namespace": intent.namespace, "number": [str(intent.port)]}


def _seconds(value: float) -> str:
    """Protobuf's duration in JSON."""
    return f"{value:g}s"
