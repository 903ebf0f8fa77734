"""Outbound listeners: one per service address and port, found through the listener that captures all traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.api.routing import Destination
from refmesh.config.model import Protocol
from refmesh.discovery import filters, names, routes
from refmesh.discovery.chains import Chain, filter_chains
from refmesh.discovery.limits import AS_USUAL, StreamHandling
from refmesh.discovery.packing import duration, uint32
from refmesh.discovery.settings import OUTBOUND_PORT, MeshSettings

__all__ = [
    "CAPTURE_LISTENER",
    "CONNECT_ATTEMPTS",
    "DETECTION_SECONDS",
    "OutboundListener",
    "StreamRoute",
    "capture_listener",
    "outbound_listener",
    "routed",
    "shares",
    "socket_address",
    "unknown_cluster",
]

CAPTURE_LISTENER = "virtualOutbound"
DETECTION_SECONDS = 5.0
"""How long to wait for a client's first bytes where they decide the protocol. A server that speaks first on such a port
is served as plain TCP after this; naming the port `tcp` avoids the wait."""

CONNECT_ATTEMPTS = 3
"""As many as a request gets by default: nothing has been sent before a connection stands."""


@dataclass(frozen=True)
class StreamRoute:
    """Connections go to `destinations` by weight: all, or with `tls` those in TLS for `server_names` (none: any)."""

    server_names: tuple[str, ...]
    destinations: tuple[Destination, ...]
    tls: bool
    subnets: tuple[str, ...] = ()
    """Blocks of addresses, one of which the client must have asked for; none: any address."""
    handling: StreamHandling = AS_USUAL

    def at(self, address: str) -> bool:
        """Whether it may hold for connections to an address."""
        return not self.subnets or any(IPv4Address(address) in IPv4Network(subnet) for subnet in self.subnets)


@dataclass(frozen=True)
class OutboundListener:
    """All that an outbound listener depends on."""

    address: str
    port: int
    protocol: Protocol
    host: str
    direct: bool = False
    """The address is an endpoint's own (of a headless service), not the service's."""
    service_port: int = 0
    """The service's port where it differs from the address's: `direct` only."""
    streams: tuple[StreamRoute, ...] = ()
    """tcp and tls routes for the address; the first that holds decides."""
    handling: StreamHandling = AS_USUAL
    """Of connections that no such route takes."""
    plain: bool = False
    """The endpoint has no proxy: it gets what the client sends. `direct` only."""
    peer: str = ""
    """The workload behind the address: `direct` only."""

    @property
    def name(self) -> str:
        """The listener's name."""
        return f"{self.address}_{self.port}"


def outbound_listener(spec: OutboundListener, settings: MeshSettings) -> Any:
    """The listener for one service address and port. It opens no socket: connections are handed to it by address."""
    listener = Listener(
        name=spec.name,
        address=socket_address(spec.address, spec.port),
        bind_to_port=BoolValue(value=False),
        traffic_direction=TrafficDirection.OUTBOUND,
    )
    if spec.direct:
        cluster = names.PASSTHROUGH if spec.plain else names.direct_cluster(spec.service_port, spec.host)
        http = filters.http_outbound(
            settings,
            "",
            routes.single_cluster(cluster, cluster),
            peer=spec.peer,
            # Who has no proxy gets what the client sends, as it is.
            protocol=Protocol.AUTO if spec.plain else spec.protocol,
        )
    else:
        cluster = names.outbound_cluster(spec.port, "", spec.host)
        http = filters.http_outbound(settings, names.route_name(spec.host, spec.port), protocol=spec.protocol)
    tcp = _tcp(spec, cluster, settings)
    if spec.protocol.is_http:
        listener.filter_chains.append(FilterChain(name="http", filters=[http]))
    elif spec.protocol is Protocol.TCP:
        listener.filter_chains.append(FilterChain(name="tcp", filters=[tcp]))
    else:
        listener.listener_filters.append(filters.http_inspector())
        listener.listener_filters_timeout.CopyFrom(duration(DETECTION_SECONDS))
        listener.continue_on_listener_filters_timeout = True
        match = FilterChainMatch(application_protocols=filters.HTTP_SNIFFED)
        sniffed = FilterChain(name="http", filter_chain_match=match, filters=[filters.offer_http_alpn(), http])
        listener.filter_chains.append(sniffed)
        listener.default_filter_chain.CopyFrom(FilterChain(name="tcp", filters=[tcp]))
    if not spec.protocol.is_http:
        _add_tls_routes(listener, spec, settings)
    return listener


def _tcp(spec: OutboundListener, cluster: str, settings: MeshSettings) -> Any:
    """The filter for connections that no tls route takes."""
    route = next((stream for stream in spec.streams if not stream.tls), None)
    if route is None:
        attempts = 1 if spec.direct else CONNECT_ATTEMPTS
        return filters.tcp(
            settings,
            "outbound",
            cluster,
            attempts,
            target=spec.host,
            peer=spec.peer,
            handling=spec.handling,
        )
    return routed(route, spec.port, settings)


def routed(route: StreamRoute, port: int, settings: MeshSettings) -> Any:
    """The filter for connections that a tcp or tls route takes."""
    found = shares(route.destinations, port)
    return filters.tcp_split(settings, "outbound", found, attempts=CONNECT_ATTEMPTS, handling=route.handling)


def shares(destinations: Iterable[Destination], port: int) -> tuple[tuple[str, int], ...]:
    """Clusters by weight. What cannot be reached keeps its share of connections: they are closed, and all of none."""
    found = Counter[str]()
    for item in destinations:
        reached = names.outbound_cluster(item.port or port, item.subset, item.host)
        found[names.BLACK_HOLE if item.invalid else reached] += item.weight
    return tuple((cluster, weight) for cluster, weight in found.items() if weight) or ((names.BLACK_HOLE, 1),)


def _add_tls_routes(listener: Any, spec: OutboundListener, settings: MeshSettings) -> None:
    """One filter chain for each tls route; a name that an earlier route takes is not its own any more."""
    chains = [
        Chain(
            f"tls-{index}",
            FilterChainMatch(transport_protocol="tls", server_names=route.server_names),
            (routed(route, spec.port, settings),),
        )
        for index, route in enumerate(spec.streams)
        if route.tls
    ]
    if not chains:
        return
    listener.filter_chains.extend(filter_chains(chains))
    # Detection of HTTP, where there is one, comes after: TLS is not HTTP.
    listener.listener_filters.insert(0, filters.tls_inspector())
    listener.listener_filters_timeout.CopyFrom(duration(DETECTION_SECONDS))
    listener.continue_on_listener_filters_timeout = True


def unknown_cluster(settings: MeshSettings) -> str:
    """Where connections go whose destination nobody has registered."""
    return names.PASSTHROUGH if settings.allow_unknown else names.BLACK_HOLE


def capture_listener(settings: MeshSettings) -> Any:
    """Takes every outgoing connection and hands it to the listener of its destination; others pass through."""
    black_hole = FilterChain(
        name="loop",
        filter_chain_match=FilterChainMatch(destination_port=uint32(OUTBOUND_PORT)),
        filters=[filters.tcp(settings, "outbound", names.BLACK_HOLE)],
    )
    unknown = FilterChain(name="unknown", filters=[filters.tcp(settings, "outbound", unknown_cluster(settings))])
    return Listener(
        name=CAPTURE_LISTENER,
        address=socket_address("0.0.0.0", OUTBOUND_PORT),  # noqa: S104 - redirected connections may come in on any address
        use_original_dst=BoolValue(value=True),
        traffic_direction=TrafficDirection.OUTBOUND,
        filter_chains=[black_hole],
        default_filter_chain=unknown,
    )


def socket_address(address: str, port: int) -> Any:
    """An address in Envoy's words."""
    return Address(socket_address=SocketAddress(address=address, port_value=port))
