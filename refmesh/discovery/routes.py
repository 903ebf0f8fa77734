"""Route configurations: which requests to a service port go where.

One configuration per port, for every host name: the listener in front of it knows the destination by its address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.common.fault.v3.fault_pb2 import FaultDelay
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.api.routing import Cors, Destination, Fault, Match, Rule
from refmesh.discovery import names, route_action
from refmesh.discovery.packing import duration, pack
from refmesh.discovery.route_match import route_match, string_matcher
from refmesh.discovery.route_paths import redirect_action

__all__ = [
    "CORS_FILTER",
    "FAULT_FILTER",
    "RouteSpec",
    "faults",
    "in_order",
    "route_configuration",
    "single_cluster",
    "virtual_host",
]

FAULT_FILTER = "envoy.filters.http.fault"
CORS_FILTER = "envoy.filters.http.cors"


@dataclass(frozen=True)
class RouteSpec:
    """All that a route configuration depends on. `rules` None: no user's route, everything goes to the service."""

    host: str
    port: int
    rules: tuple[Rule, ...] | None = None


def in_order(rules: Sequence[Rule]) -> list[tuple[Rule, Match]]:
    """Every match with its rule, in the order in which requests are held against them: the first that holds decides."""
    return [(rule, match) for rule in rules for match in (rule.matches or (Match(),))]


def faults(rules: Sequence[Rule]) -> list[Fault | None]:
    """The trouble that each rule asks for."""
    return [rule.fault for rule in rules]


def route_configuration(spec: RouteSpec) -> Any:
    """The route configuration of a service port."""
    name = names.route_name(spec.host, spec.port)
    rules = spec.rules
    if rules is None:
        rules = (Rule(destinations=(Destination(spec.host, spec.port),)),)
    return RouteConfiguration(
        name=name,
        virtual_hosts=[virtual_host(name, ["*"], rules, spec.host, spec.port)],
        # A route may name a cluster that comes or goes with the next update; that must not make this one invalid.
        validate_clusters=BoolValue(value=False),
    )


def virtual_host(name: str, domains: Sequence[str], rules: Sequence[Rule], host: str, port: int) -> Any:
    """The routes for requests whose host is one of `domains`; `port` is where they go if a rule names none."""
    with_faults = [replace(rule, fault=fault) for rule, fault in zip(rules, faults(rules), strict=True)]
    routes = [_route(rule, match, host, port) for rule, match in in_order(with_faults)]
    return VirtualHost(name=name, domains=domains, routes=routes)


def single_cluster(name: str, cluster: str) -> Any:
    """A configuration that sends everything to one cluster and never tries twice."""
    action = RouteAction(cluster=cluster, timeout=Duration())
    route = Route(name="default", match=RouteMatch(prefix="/"), route=action)
    host = VirtualHost(name=name, domains=["*"], routes=[route])
    return RouteConfiguration(name=name, virtual_hosts=[host], validate_clusters=BoolValue(value=False))


def _route(rule: Rule, match: Match, host: str, port: int) -> Any:
    route = Route(name=rule.name, match=route_match(match))
    for change, target, removed in (
        (rule.request_headers, route.request_headers_to_add, route.request_headers_to_remove),
        (rule.response_headers, route.response_headers_to_add, route.response_headers_to_remove),
    ):
        target.extend(route_action.header_options(change))
        removed.extend(change.remove)
    for filter_name, config in _filter_settings(rule).items():
        route.typed_per_filter_config[filter_name].CopyFrom(pack(config))
    if rule.redirect is not None:
        route.redirect.CopyFrom(redirect_action(rule.redirect, match))
        return route
    if rule.direct is not None:
        body = DataSource(inline_bytes=rule.direct.body) if rule.direct.body else None
        route.direct_response.CopyFrom(DirectResponseAction(status=rule.direct.status, body=body))
        return route
    live = route_action.served(route_action.mirrored(rule)[0])
    if all(route_action.cluster_name(item, host, port).startswith("invalid|") for item in live):
        route.direct_response.CopyFrom(DirectResponseAction(status=500))
        return route
    route.route.CopyFrom(route_action.forward(rule, live, match, host, port))
    return route


def _filter_settings(rule: Rule) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    if rule.fault is not None:
        found[FAULT_FILTER] = _fault(rule.fault)
    if rule.cors is not None:
        found[CORS_FILTER] = _cors(rule.cors)
    return found


def _fault(fault: Fault) -> Any:
    found = HTTPFault()
    if fault.delay is not None and fault.delay_percent:
        percentage = route_action.share(fault.delay_percent)
        found.delay.CopyFrom(FaultDelay(fixed_delay=duration(fault.delay), percentage=percentage))
    if fault.abort_percent:
        abort = FaultAbort(percentage=route_action.share(fault.abort_percent))
        if fault.abort_grpc_status is not None:
            abort.grpc_status = fault.abort_grpc_status
        else:
            abort.http_status = fault.abort_status
        found.abort.CopyFrom(abort)
    return found


def _cors(cors: Cors) -> Any:
    return CorsPolicy(
        allow_origin_string_match=[string_matcher(origin) for origin in cors.origins],
        allow_methods=",".join(cors.methods),
        allow_headers=",".join(cors.headers),
        expose_headers=",".join(cors.exposed),
        max_age=str(int(cors.max_age.total_seconds())) if cors.max_age is not None else "",
        allow_credentials=BoolValue(value=cors.credentials),
        # Where it is not forwarded, a preflight of another origin is answered here: the application never hears of it.
        forward_not_matching_preflights=BoolValue(value=cors.forward_unmatched),
    )
