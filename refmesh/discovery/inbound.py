"""The inbound listener of a pod: who may connect to which port, and how.

Every port gets its own filter chains. Mutual TLS of the mesh is known by what the client offers (ALPN), so that an
application's own TLS on the same port goes through untouched in PERMISSIVE mode. The chain for the mesh's own clients
is the same in PERMISSIVE and STRICT mode: switching does not disturb their connections.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import (
    FilterChain,
    FilterChainMatch,
    ListenerFilterChainMatchPredicate,
)
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.type.v3.range_pb2 import Int32Range

from refmesh.api.peer_authentication import MtlsMode
from refmesh.api.ports import RESERVED_PORTS
from refmesh.config.model import Key, Pod, Protocol, Snapshot
from refmesh.config.objects import protocol_of
from refmesh.discovery import filters, guards, names, policy, routes, tls
from refmesh.discovery.authorization import OPEN, Authorization
from refmesh.discovery.jwt import TokenRule
from refmesh.discovery.observation import Observation
from refmesh.discovery.outbound import DETECTION_SECONDS
from refmesh.discovery.packing import duration, uint32
from refmesh.discovery.settings import INBOUND_PORT, MeshSettings

__all__ = ["INBOUND_LISTENER", "Inbound", "InboundPort", "inbound_listener", "inbound_of", "inbound_routes"]

INBOUND_LISTENER = "virtualInbound"


@dataclass(frozen=True, slots=True)
class InboundPort:
    """One port of the application."""

    number: int
    protocol: Protocol
    mode: MtlsMode
    host: str = ""
    """The service that traffic to the port is counted for: the oldest, as the port alone does not tell more.

    So one that comes to stand beside it, for a canary say, changes no chain and ends no connection.
    """
    http1: bool = False
    """The application gets HTTP/1.1, whatever requests came as."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """All that a pod's inbound listener depends on: pods of one deployment share it."""

    ports: tuple[InboundPort, ...]
    other_ports: MtlsMode
    authorization: Authorization = OPEN
    tokens: tuple[TokenRule, ...] = ()
    observed: Observation | None = None
    """What the proxy says of the traffic; None: what every proxy says."""


def inbound_of(
    snapshot: Snapshot,
    policies: policy.MtlsPolicies,
    pod: Pod,
    authorization: Authorization = OPEN,
    tokens: tuple[TokenRule, ...] = (),
    *,
    observed: Observation | None = None,
    domain: str = "cluster.local",
    upgraded: Collection[tuple[Key, int]] = (),
) -> Inbound:
    """The ports that Services, containers or the PeerAuthentication of the pod name, and the mode for each.

    `upgraded`: those of Services on which clients' proxies speak HTTP/2, and applications HTTP/1.1.
    """
    found: dict[int, Protocol] = {}
    hosts: dict[int, str] = {}
    http1 = set[int]()
    for service in snapshot.services_of(pod):
        for port in service.ports:
            number = pod.port(port.target)
            if number is None:
                continue
            hosts.setdefault(number, service.host(domain))
            if (service.key, port.port) in upgraded:
                http1.add(number)
            known = found.get(number)
            found[number] = port.protocol if known in {None, port.protocol} else Protocol.AUTO
    for declared in pod.ports:
        # Without a Service the container's own name for the port is the only word on its protocol.
        found.setdefault(declared.port, protocol_of(declared.name, port=declared.port))
    workload = policies.of_workload(pod)
    for number in workload.ports if workload is not None else ():
        found.setdefault(number, Protocol.TCP)
    ports = tuple(
        InboundPort(
            number,
            protocol,
            policy.mode_in_force(policies, pod, number),
            hosts.get(number, ""),
            number in http1 and protocol is Protocol.HTTP,
        )
        for number, protocol in sorted(found.items())
        if number not in RESERVED_PORTS
    )
    return Inbound(ports, policy.mode_in_force(policies, pod, None), authorization, tokens, observed)


def inbound_routes(inbound: Inbound, settings: MeshSettings) -> dict[str, Any]:
    """The routes of the ports that speak HTTP, by name: each to its own application, and what is let through."""
    found = {}
    rules = guards.route_rules(inbound.authorization, settings.trust_domain)
    for port in inbound.ports:
        if port.protocol is Protocol.TCP:
            continue
        name = names.inbound_route(port.number)
        table = routes.single_cluster(name, names.inbound_cluster(port.number))
        table.ignore_path_parameters_in_path_matching = guards.ignores_path_parameters()
        for key, value in rules.items():
            table.typed_per_filter_config[key].CopyFrom(value)
        found[name] = table
    return found


def inbound_listener(inbound: Inbound, settings: MeshSettings) -> Any:
    """The listener for everything that comes to the pod."""
    if inbound.observed is not None:
        settings = settings.observing(inbound.observed)
    chains = [_loop_chain(settings)]
    for port in inbound.ports:
        chains.extend(port_chains(settings, port, inbound))
    # A port nobody named gets the workload's mode and is treated as bytes.
    chains.extend(port_chains(settings, InboundPort(0, Protocol.TCP, inbound.other_ports), inbound))
    inspector = filters.http_inspector()
    sniffed = [port.number for port in inbound.ports if port.protocol is Protocol.AUTO]
    inspector.filter_disabled.CopyFrom(_none_of(sniffed))
    tls_inspector = filters.tls_inspector()
    disabled = [port.number for port in inbound.ports if port.mode is MtlsMode.DISABLE]
    if inbound.other_ports is MtlsMode.DISABLE:
        # The application's own TLS is bytes like others on those ports.
        enabled = [port.number for port in inbound.ports if port.mode is not MtlsMode.DISABLE]
        tls_inspector.filter_disabled.CopyFrom(_none_of(enabled))
    elif disabled:
        tls_inspector.filter_disabled.CopyFrom(_any_of(disabled))
    return Listener(
        name=INBOUND_LISTENER,
        address=Address(
            socket_address=SocketAddress(address="0.0.0.0", port_value=INBOUND_PORT)  # noqa: S104 - see outbound.py
        ),
        traffic_direction=TrafficDirection.INBOUND,
        listener_filters=[filters.original_dst(), tls_inspector, *([inspector] if sniffed else [])],
        listener_filters_timeout=duration(DETECTION_SECONDS),
        continue_on_listener_filters_timeout=True,
        filter_chains=chains,
    )


def _loop_chain(settings: MeshSettings) -> Any:
    """A connection made to the proxy's own port would be sent to itself for ever."""
    match = FilterChainMatch(destination_port=uint32(INBOUND_PORT))
    return FilterChain(
        name="loop", filter_chain_match=match, filters=[filters.tcp(settings, "inbound", names.BLACK_HOLE)]
    )


def port_chains(settings: MeshSettings, port: InboundPort, inbound: Inbound) -> list[Any]:
    """The chains of one port; number 0 stands for all ports without chains of their own."""
    build = _ChainBuilder(settings, port, inbound)
    secured: list[Any] = []
    if port.mode is not MtlsMode.DISABLE:
        if port.protocol is Protocol.AUTO:
            secured.append(build.chain("mtls-http", alpn=[tls.MESH_ALPN_HTTP], secure=True, http=True))
            secured.append(build.chain("mtls-tcp", alpn=[tls.MESH_ALPN_TCP], secure=True, http=False))
        else:
            alpn = [tls.MESH_ALPN_HTTP, tls.MESH_ALPN_TCP]
            secured.append(build.chain("mtls", alpn=alpn, secure=True, http=port.protocol.is_http))
    if port.mode is MtlsMode.STRICT:
        # Any other TLS client must show a certificate of the mesh as well; plaintext matches nothing and is reset.
        return [*secured, build.chain("mtls-any", transport="tls", secure=True, http=port.protocol.is_http)]
    plain = []
    if port.mode is MtlsMode.PERMISSIVE and port.protocol.is_http:
        # The application speaks plaintext HTTP here, so TLS without the mesh's ALPN can only be meant for the proxy.
        secured.append(build.chain("mtls-any", transport="tls", secure=True, http=True))
    elif port.mode is MtlsMode.PERMISSIVE:
        plain.append(build.chain("application-tls", transport="tls", secure=False, http=False))
    if port.protocol is Protocol.AUTO:
        plain.append(build.chain("http", transport="raw_buffer", alpn=filters.HTTP_SNIFFED, secure=False, http=True))
    plain.append(build.chain("plaintext", transport="raw_buffer", secure=False, http=port.protocol.is_http))
    return [*secured, *plain]


@dataclass(frozen=True)
class _ChainBuilder:
    settings: MeshSettings
    port: InboundPort
    inbound: Inbound

    def chain(
        self, name: str, *, secure: bool, http: bool, transport: str = "tls", alpn: list[str] | tuple[str, ...] = ()
    ) -> Any:
        number = self.port.number
        match = FilterChainMatch(transport_protocol=transport, application_protocols=alpn)
        if number:
            match.destination_port.value = number
        cluster = names.inbound_cluster(number) if number else names.INBOUND_PASSTHROUGH
        target = self.port.host or names.INBOUND_PASSTHROUGH
        guard = guards.Guard(self.inbound.authorization, self.inbound.tokens)
        if http:
            protocol = self.port.protocol
            network = [
                filters.http_inbound(self.settings, number, guard, verified=secure, target=target, protocol=protocol)
            ]
        else:
            guarding = guards.network_filters(guard.authorization, self.settings.trust_domain)
            network = [*guarding, filters.tcp(self.settings, "inbound", cluster, target=target)]
        return FilterChain(
            name=f"{number or 'other'}-{name}",
            filter_chain_match=match,
            transport_socket=tls.downstream(self.settings.trust_domain) if secure else None,
            filters=network,
        )


def _any_of(ports: list[int]) -> Any:
    rules = [
        ListenerFilterChainMatchPredicate(destination_port_range=Int32Range(start=port, end=port + 1)) for port in ports
    ]
    if len(rules) == 1:
        return rules[0]
    return ListenerFilterChainMatchPredicate(or_match=ListenerFilterChainMatchPredicate.MatchSet(rules=rules))


def _none_of(ports: list[int]) -> Any:
    if not ports:
        return ListenerFilterChainMatchPredicate(any_match=True)
    return ListenerFilterChainMatchPredicate(not_match=_any_of(ports))
