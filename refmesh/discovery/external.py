"""Hosts outside the mesh (ServiceEntry): clusters, listeners and routes for them.

An entry with addresses has listeners of its own for those. Of one without, the destination's address says nothing: one
listener for each port takes what goes to no known address, and tells hosts by the Host header or by TLS's SNI.
Where nobody may be called who is not registered, such a listener answers 502 to requests on every port that some
Service speaks HTTP on, as Istio's does; what else goes to an unknown address is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.api.ports import RESERVED_PORTS
from refmesh.api.routing import Destination, Rule
from refmesh.api.service_entry import EntryPort, ServiceEntry
from refmesh.api.virtual_service import VirtualService
from refmesh.config.model import Protocol, Snapshot
from refmesh.discovery import clusters, filters, names, outbound, routes
from refmesh.discovery.attachments import EVERYBODY, Attachments, host_rules
from refmesh.discovery.packing import duration
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings

__all__ = ["Plan", "external_listener", "external_routes", "own_clusters", "plans"]

_PROTOCOLS = {"http": Protocol.HTTP, "http2": Protocol.HTTP2, "tls": Protocol.TCP, "tcp": Protocol.TCP}
_ALLOW_ANY, _BLOCK_ALL = "allow_any", "block_all"
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - stands for every destination; no socket is opened


@dataclass(frozen=True)
class Plan:
    """A resource to make: `inputs` is all that it depends on."""

    kind: ResourceType
    name: str
    inputs: Any
    make: Callable[[], Any]


@dataclass(frozen=True)
class _Host:
    """A host at a port, and the user's rules for it."""

    host: str
    port: EntryPort
    rules: tuple[Rule, ...]

    @property
    def cluster(self) -> str:
        return names.outbound_cluster(self.port.number, "", self.host)


@dataclass(frozen=True)
class ExternalListener:
    """All that a listener depends on; `address` is an entry's own, or stands for every one."""

    address: str
    port: int
    hosts: tuple[_Host, ...]
    """None: there are only destinations that nobody has registered."""

    @property
    def name(self) -> str:
        """The listener's name."""
        return f"{self.address}_{self.port}"

    @property
    def requests_of_one_host(self) -> bool:
        """Whether every request goes to the same host, whatever it is addressed to."""
        return self.address != _ANY_ADDRESS and sum(map(_is_http, self.hosts)) == 1

    def route(self, settings: MeshSettings) -> str:
        """The name of its routes, which say what becomes of requests for unknown hosts."""
        return self.name if settings.allow_unknown or self.requests_of_one_host else f"{self.name}|{_BLOCK_ALL}"


def plans(
    snapshot: Snapshot, attachments: Attachments, settings: MeshSettings, taken: Collection[str]
) -> Iterator[Plan]:
    """Everything for hosts outside. Listeners whose names are `taken`, by a Service's address, are left to that."""
    by_address: dict[tuple[str, int], list[_Host]] = {}
    for entry, name, port in _hosts(snapshot):
        host = _Host(name, port, _rules(attachments.virtual_services.get(name), name, port))
        # Beside the entry a rule speaks to everybody, like one beside a Service.
        own = attachments.destination_rules.get((entry.meta.namespace, name))
        yield _cluster(entry, host, own or attachments.destination_rules.get((EVERYBODY, name)), settings)
        for address in entry.addresses or (_ANY_ADDRESS,):
            by_address.setdefault((address, port.number), []).append(host)
    for (address, number), hosts in by_address.items():
        spec = ExternalListener(address, number, tuple(hosts))
        if spec.name not in taken:
            yield Plan(ResourceType.LISTENER, spec.name, spec, partial(external_listener, spec, settings))
            if any(_is_http(item) for item in hosts):
                # A Sidecar may want for some what others do not get.
                both = (settings.reaching(unknown=True), settings.reaching(unknown=False))
                for name, view in {spec.route(view): view for view in both}.items():
                    yield Plan(ResourceType.ROUTE, name, spec, partial(external_routes, spec, view))
    for number in sorted(_http_ports(snapshot) - {number for address, number in by_address if address == _ANY_ADDRESS}):
        spec = ExternalListener(_ANY_ADDRESS, number, ())
        yield Plan(ResourceType.LISTENER, spec.name, spec, partial(external_listener, spec, settings))


def _http_ports(snapshot: Snapshot) -> set[int]:
    """The ports on which a Service speaks HTTP, or may.

    Not the proxy's own: it listens there at every address itself, and Envoy refuses the second of two such listeners.
    """
    return {
        port.port
        for service in snapshot.services.values()
        for port in service.ports
        if port.protocol is not Protocol.TCP and port.port not in RESERVED_PORTS
    }


def own_clusters(snapshot: Snapshot, attachments: Attachments, namespace: str) -> Iterator[Plan]:
    """The clusters that clients of a namespace see otherwise than others, by rules of their own."""
    for entry, name, port in _hosts(snapshot):
        rule = attachments.destination_rules.get((namespace, name))
        if rule is not None and entry.meta.namespace != namespace:
            yield _cluster(entry, _Host(name, port, ()), rule, attachments.settings)


def _hosts(snapshot: Snapshot) -> Iterator[tuple[ServiceEntry, str, EntryPort]]:
    """Every host at every port; of several entries for one the oldest decides."""
    seen: set[tuple[str, int]] = set()
    for entry in sorted(snapshot.service_entries.values(), key=lambda item: item.meta.age_key):
        for port in entry.ports:
            for name in entry.hosts:
                if (name, port.number) not in seen:
                    seen.add((name, port.number))
                    yield entry, name, port


def _rules(virtual: VirtualService | None, host: str, port: EntryPort) -> tuple[Rule, ...]:
    own = host_rules(virtual, port.number) if virtual is not None else None
    return own if own is not None else (Rule(destinations=(Destination(host, port.number),)),)


def _is_http(host: _Host) -> bool:
    return host.port.protocol in {"http", "http2"}


def _cluster(entry: ServiceEntry, host: _Host, rule: DestinationRule | None, settings: MeshSettings) -> Plan:
    policy = (rule.policy if rule is not None else TrafficPolicy()).for_port(host.port.number)
    addresses = tuple((item.address, item.port(host.port)) for item in entry.endpoints)
    if entry.resolution == "DNS" and not addresses:
        addresses = ((host.host, host.port.target),)
    spec = clusters.ExternalCluster(host.cluster, entry.resolution, addresses, _PROTOCOLS[host.port.protocol], policy)
    return Plan(ResourceType.CLUSTER, spec.name, spec, partial(clusters.external_cluster, spec, settings))


def external_listener(spec: ExternalListener, settings: MeshSettings) -> Any:
    """The listener for an address and port: HTTP by Host, TLS by SNI, other bytes to the entry for TCP."""
    listener = Listener(
        name=spec.name,
        address=outbound.socket_address(spec.address, spec.port),
        bind_to_port=BoolValue(value=False),
        traffic_direction=TrafficDirection.OUTBOUND,
        listener_filters_timeout=duration(outbound.DETECTION_SECONDS),
        continue_on_listener_filters_timeout=True,
    )
    http = not spec.hosts or any(_is_http(host) for host in spec.hosts)
    secured = [host for host in spec.hosts if host.port.protocol == "tls"]
    if secured:
        listener.listener_filters.append(filters.tls_inspector())
    if http:
        listener.listener_filters.append(filters.http_inspector())
        match = FilterChainMatch(application_protocols=filters.HTTP_SNIFFED)
        inline = None if spec.hosts else external_routes(spec, settings)
        manager = filters.http_outbound(settings, spec.route(settings), inline)
        listener.filter_chains.append(FilterChain(name="http", filter_chain_match=match, filters=[manager]))
    for host in secured:
        match = FilterChainMatch(transport_protocol="tls", server_names=[host.host])
        chain = FilterChain(name=f"tls-{host.host}", filter_chain_match=match)
        chain.filters.append(filters.tcp(settings, "outbound", host.cluster))
        listener.filter_chains.append(chain)
    raw = next((host.cluster for host in spec.hosts if host.port.protocol == "tcp"), None)
    if raw is None:
        # At an address of its own an entry gets everything; at any address only what names it.
        raw = spec.hosts[0].cluster if spec.address != _ANY_ADDRESS else outbound.unknown_cluster(settings)
    listener.default_filter_chain.CopyFrom(FilterChain(name="other", filters=[filters.tcp(settings, "outbound", raw)]))
    return listener


def external_routes(spec: ExternalListener, settings: MeshSettings) -> Any:
    """The routes of such a listener: a virtual host for each name, and one for all that are not known."""
    hosts = [host for host in spec.hosts if _is_http(host)]
    if spec.requests_of_one_host:
        found = [routes.virtual_host(hosts[0].host, ["*"], hosts[0].rules, hosts[0].host, spec.port)]
    else:
        found = [
            routes.virtual_host(host.host, [host.host, f"{host.host}:{spec.port}"], host.rules, host.host, spec.port)
            for host in hosts
        ]
        found.append(_unknown(settings))
    return RouteConfiguration(
        name=spec.route(settings),
        virtual_hosts=found,
        validate_clusters=BoolValue(value=False),
    )


def _unknown(settings: MeshSettings) -> Any:
    name = _ALLOW_ANY if settings.allow_unknown else _BLOCK_ALL
    route = Route(name=name, match=RouteMatch(prefix="/"))
    if settings.allow_unknown:
        route.route.CopyFrom(RouteAction(cluster=names.PASSTHROUGH, timeout=Duration()))
    else:
        # What Istio answers where only registered hosts may be called.
        route.direct_response.CopyFrom(DirectResponseAction(status=502))
    return VirtualHost(name=name, domains=["*"], routes=[route])
