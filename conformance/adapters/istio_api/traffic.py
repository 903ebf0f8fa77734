"""Traffic: `VirtualService` and `DestinationRule`, and `HTTPRoute` where backends are services of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.intents import Backend, ConnectionLimit, Marker, OutlierEjection, RouteTimeout, WeightedRoute

from .base import duration, manifest, render


@render.register
def _(intent: WeightedRoute) -> Rendered | Unsupported:
    if intent.by == "service":
        return Rendered(objects=(_http_route(intent),))
    backends = [backend for backend, _ in intent.weights]
    if intent.marker:
        backends.append(intent.marker.backend)
    routes = [*_marked(intent.service, intent.marker)]
    shares = [
        {"destination": _destination(intent.service, backend), "weight": weight} for backend, weight in intent.weights
    ]
    routes.append({"route": shares})
    return Rendered(
        objects=(
            _destination_rule(intent.namespace, intent.service, backends, {}),
            _virtual_service(intent.namespace, intent.service, routes),
        )
    )


@render.register
def _(intent: OutlierEjection) -> Rendered | Unsupported:
    policy = {
        "outlierDetection": {
            "consecutive5xxErrors": intent.consecutive,
            "interval": duration(intent.interval),
            "baseEjectionTime": duration(intent.ejection),
            "maxEjectionPercent": intent.most_percent,
        }
    }
    return Rendered(objects=_with_policy(intent.namespace, intent.service, policy, intent.marker))


@render.register
def _(intent: ConnectionLimit) -> Rendered | Unsupported:
    policy = {
        "connectionPool": {
            "tcp": {"maxConnections": intent.connections},
            "http": {"http1MaxPendingRequests": intent.pending, "http2MaxRequests": intent.requests},
        }
    }
    return Rendered(objects=_with_policy(intent.namespace, intent.service, policy, intent.marker))


@render.register
def _(intent: RouteTimeout) -> Rendered | Unsupported:
    route = {"route": [{"destination": {"host": intent.service}}], "timeout": duration(intent.seconds)}
    return Rendered(objects=(_virtual_service(intent.namespace, intent.service, [route]),))


def _destination(service: str, backend: Backend) -> dict[str, Any]:
    return {"host": service, "subset": backend.version}


def _marked(service: str, marker: Marker | None) -> list[dict[str, Any]]:
    """The route that shows that this configuration is in force; first, so that it wins."""
    if marker is None:
        return []
    match = [{"headers": {marker.header: {"exact": marker.value}}}]
    return [{"match": match, "route": [{"destination": _destination(service, marker.backend)}]}]


def _virtual_service(namespace: str, service: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    spec = {"hosts": [service], "http": routes}
    return manifest("networking.istio.io/v1", "VirtualService", service, namespace, spec)


def _destination_rule(
    namespace: str, service: str, backends: list[Backend], policy: Mapping[str, Any]
) -> dict[str, Any]:
    versions = sorted({backend.version for backend in backends if backend.version})
    spec: dict[str, Any] = {"host": service}
    if policy:
        spec["trafficPolicy"] = dict(policy)
    if versions:
        spec["subsets"] = [{"name": version, "labels": {"version": version}} for version in versions]
    return manifest("networking.istio.io/v1", "DestinationRule", service, namespace, spec)


def _with_policy(
    namespace: str, service: str, policy: Mapping[str, Any], marker: Marker | None
) -> tuple[dict[str, Any], ...]:
    """A traffic policy; its mark is a subset defined in the same object, which a route reaches by header."""
    backends = [marker.backend] if marker else []
    rule = _destination_rule(namespace, service, backends, policy)
    if marker is None:
        return (rule,)
    routes = [*_marked(service, marker), {"route": [{"destination": {"host": service}}]}]
    return rule, _virtual_service(namespace, service, routes)


def _http_route(intent: WeightedRoute) -> dict[str, Any]:
    def reference(backend: Backend, weight: int) -> dict[str, Any]:
        return {"name": backend.service, "port": intent.port, "weight": weight}

    rules: list[dict[str, Any]] = []
    if intent.marker:
        match = {"headers": [{"type": "Exact", "name": intent.marker.header, "value": intent.marker.value}]}
        rules.append({"matches": [match], "backendRefs": [reference(intent.marker.backend, 1)]})
    rules.append({"backendRefs": [reference(backend, weight) for backend, weight in intent.weights]})
    parent = {"group": "", "kind": "Service", "name": intent.service, "port": intent.port}
    spec = {"parentRefs": [parent], "rules": rules}
    return manifest("gateway.networking.k8s.io/v1", "HTTPRoute", intent.service, intent.namespace, spec)
