"""Traffic: `VirtualService` and `DestinationRule`; Gateway API's routes where backends are services of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered, Unsupported
from conformance.intents import Backend, ConnectionLimit, Marker, OutlierEjection, RouteTimeout, WeightedRoute

from .base import duration, manifest, render

__all__ = ["destination", "destination_rule", "ejecting", "marked", "virtual_service", "with_policy"]


@render.register
def _(intent: WeightedRoute) -> Rendered | Unsupported:
    if intent.by == "service":
        return gateway_api_words.render(intent)
    backends = [backend for backend, _ in intent.weights]
    if intent.marker:
        backends.append(intent.marker.backend)
    routes = [*marked(intent.service, intent.marker)]
    shares = [
        {"destination": destination(intent.service, backend), "weight": weight} for backend, weight in intent.weights
    ]
    routes.append({"route": shares})
    return Rendered(
        objects=(
            destination_rule(intent.namespace, intent.service, backends, {}),
            virtual_service(intent.namespace, intent.service, routes),
        )
    )


@render.register
def _(intent: OutlierEjection) -> Rendered | Unsupported:
    return Rendered(objects=with_policy(intent.namespace, intent.service, ejecting(intent), intent.marker))


@render.register
def _(intent: ConnectionLimit) -> Rendered | Unsupported:
    policy = {
        "connectionPool": {
            "tcp": {"maxConnections": intent.connections},
            "http": {"http1MaxPendingRequests": intent.pending, "http2MaxRequests": intent.requests},
        }
    }
    return Rendered(objects=with_policy(intent.namespace, intent.service, policy, intent.marker))


@render.register
def _(intent: RouteTimeout) -> Rendered | Unsupported:
    route = {"route": [{"destination": {"host": intent.service}}], "timeout": duration(intent.seconds)}
    return Rendered(objects=(virtual_service(intent.namespace, intent.service, [route]),))


def ejecting(intent: OutlierEjection, *, near: bool = False) -> dict[str, Any]:
    """The policy that ejects. Unless `near` hosts of all zones are alike, which by default they are not."""
    return {
        "loadBalancer": {"localityLbSetting": {"enabled": near}},
        "outlierDetection": {
            "consecutive5xxErrors": intent.consecutive,
            "interval": duration(intent.interval),
            "baseEjectionTime": duration(intent.ejection),
            "maxEjectionPercent": intent.most_percent,
        },
    }


def destination(service: str, backend: Backend) -> dict[str, Any]:
    """A version of a service."""
    return {"host": service, "subset": backend.version}


def marked(service: str, marker: Marker | None) -> list[dict[str, Any]]:
    """The route that shows that this configuration is in force; first, so that it wins."""
    if marker is None:
        return []
    match = [{"headers": {marker.header: {"exact": marker.value}}}]
    return [{"match": match, "route": [{"destination": destination(service, marker.backend)}]}]


def virtual_service(namespace: str, service: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    """The HTTP routes of a service."""
    spec = {"hosts": [service], "http": routes}
    return manifest("networking.istio.io/v1", "VirtualService", service, namespace, spec)


def destination_rule(
    namespace: str, service: str, backends: list[Backend], policy: Mapping[str, Any]
) -> dict[str, Any]:
    """The versions of a service as subsets, and a policy for all of it."""
    versions = sorted({backend.version for backend in backends if backend.version})
    spec: dict[str, Any] = {"host": service}
    if policy:
        spec["trafficPolicy"] = dict(policy)
    if versions:
        spec["subsets"] = [{"name": version, "labels": {"version": version}} for version in versions]
    return manifest("networking.istio.io/v1", "DestinationRule", service, namespace, spec)


def with_policy(
    namespace: str, service: str, policy: Mapping[str, Any], marker: Marker | None
) -> tuple[dict[str, Any], ...]:
    """A traffic policy; its mark is a subset defined in the same object, which a route reaches by header."""
    backends = [marker.backend] if marker else []
    rule = destination_rule(namespace, service, backends, policy)
    if marker is None:
        return (rule,)
    routes = [*marked(service, marker), {"route": [{"destination": {"host": service}}]}]
    return rule, virtual_service(namespace, service, routes)
