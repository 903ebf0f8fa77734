"""Outbound listeners: one per service address and port, found through the listener that captures all traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.config.model import Protocol
from refmesh.discovery import filters, names, routes
from refmesh.discovery.packing import duration, uint32
from refmesh.discovery.settings import OUTBOUND_PORT, MeshSettings

__all__ = ["CAPTURE_LISTENER", "DETECTION_SECONDS", "OutboundListener", "capture_listener", "outbound_listener"]

CAPTURE_LISTENER = "virtualOutbound"
DETECTION_SECONDS = 5.0
"""How long to wait for a client's first bytes where they decide the protocol. A server that speaks first on such a port
is served as plain TCP after this; naming the port `tcp` avoids the wait."""

_CONNECT_ATTEMPTS = 3
"""As many as a request gets by default: nothing has been sent before a connection stands."""


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

    @property
    def name(self) -> str:
        """The listener's name."""
        return f"{self.address}_{self.port}"


def outbound_listener(spec: OutboundListener, settings: MeshSettings) -> Any:
    """The listener for one service address and port. It opens no socket: connections are handed to it by address."""
    listener = Listener(
        name=spec.name,
        address=_address(spec.address, spec.port),
        bind_to_port=BoolValue(value=False),
        traffic_direction=TrafficDirection.OUTBOUND,
    )
    if spec.direct:
        cluster = names.direct_cluster(spec.service_port, spec.host)
        http = filters.http_outbound(settings, "", routes.single_cluster(cluster, cluster))
    else:
        cluster = names.outbound_cluster(spec.port, "", spec.host)
        http = filters.http_outbound(settings, names.route_name(spec.host, spec.port))
    tcp = filters.tcp(settings, "outbound", cluster, attempts=1 if spec.direct else _CONNECT_ATTEMPTS)
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
    return listener


def capture_listener(settings: MeshSettings) -> Any:
    """Takes every outgoing connection and hands it to the listener of its destination; others pass through."""
    black_hole = FilterChain(
        name="loop",
        filter_chain_match=FilterChainMatch(destination_port=uint32(OUTBOUND_PORT)),
        filters=[filters.tcp(settings, "outbound", names.BLACK_HOLE)],
    )
    passthrough = FilterChain(name="passthrough", filters=[filters.tcp(settings, "outbound", names.PASSTHROUGH)])
    return Listener(
        name=CAPTURE_LISTENER,
        address=_address("0.0.0.0", OUTBOUND_PORT),  # noqa: S104 - redirected connections may come in on any address
        use_original_dst=BoolValue(value=True),
        traffic_direction=TrafficDirection.OUTBOUND,
        filter_chains=[black_hole],
        default_filter_chain=passthrough,
    )


def _address(address: str, port: int) -> Any:
    return Address(socket_address=SocketAddress(address=address, port_value=port))
