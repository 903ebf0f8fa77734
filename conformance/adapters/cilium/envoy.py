"""Pieces of Envoy configuration as `CiliumEnvoyConfig` carries them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.adapters.base import Manifest
from conformance.intents import Marker

__all__ = ["cluster", "listener", "marked_route", "resources", "route_to"]

TYPES = "type.googleapis.com/envoy"
MANAGER = f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{TYPES}.extensions.filters.http.router.v3.Router"


def _cluster_name(namespace: str, service: str, port: int) -> str:
    """How Cilium names the endpoints of a Service's port towards Envoy, where a configuration names ports at all."""
    return f"{namespace}/{service}:{port}"


def listener(service: str) -> dict[str, Any]:
    """The listener that requests to the service are led to."""
    manager = {
        "@type": MANAGER,
        "stat_prefix": service,
        "rds": {"route_config_name": service},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"@type": f"{TYPES}.config.listener.v3.Listener", "name": service, "filter_chains": [chain]}


def marked_route(marker: Marker, namespace: str, port: int) -> dict[str, Any]:
    """Requests with the mark go to its backend."""
    exact = {"name": marker.header, "string_match": {"exact": marker.value}}
    target = {"cluster": _cluster_name(namespace, marker.backend.service, port)}
    return {"match": {"prefix": "/", "headers": [exact]}, "route": target}


def route_to(namespace: str, service: str, port: int, header: str = "") -> dict[str, Any]:
    """Everything goes to a service; by a header's value always to the same endpoint, where one is named."""
    target: dict[str, Any] = {"cluster": _cluster_name(namespace, service, port)}
    if header:
        target["hash_policy"] = [{"header": {"header_name": header}}]
    return {"match": {"prefix": "/"}, "route": target}


def cluster(namespace: str, service: str, port: int, policy: Manifest) -> dict[str, Any]:
    """The endpoints of a service, with a policy such as outlier detection."""
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": _cluster_name(namespace, service, port),
        "type": "EDS",
        "connect_timeout": "5s",
        "lb_policy": "ROUND_ROBIN",
        **policy,
    }


def resources(
    front: Manifest, name: str, routes: Sequence[Manifest], clusters: Sequence[Manifest]
) -> list[dict[str, Any]]:
    """All of it, in one configuration."""
    host = {"name": name, "domains": ["*"], "routes": list(routes)}
    table = {"@type": f"{TYPES}.config.route.v3.RouteConfiguration", "name": name, "virtual_hosts": [host]}
    return [dict(front), table, *map(dict, clusters)]
