"""Hosts outside the mesh (ServiceEntry): clusters, listeners and routes for them.

An entry with addresses has listeners of its own for those. Of one without, the destination's address says nothing: one
listener for each port takes what goes to no known address, and tells hosts by the Host header or by TLS's SNI.
Where nobody may be called who is not registered, such a listener answers 502 to requests on every port that some
Service speaks HTTP on, as Istio's does; what else goes to an unknown address is cut off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
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

from refmesh.api.hostnames import intersection
from refmesh.api.ports import RESERVED_PORTS
from refmesh.api.routing import Destination, Rule
from refmesh.api.service_entry import EntryPort
from refmesh.config.model import Protocol, Snapshot
from refmesh.discovery import filters, hashing, names, outbound, routes
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.chains import Chain, filter_chains
from refmesh.discovery.limits import AS_USUAL, StreamHandling
from refmesh.discovery.outbound import StreamRoute
from refmesh.discovery.packing import duration
from refmesh.discovery.settings import MeshSettings

__all__ = ["ExternalListener", "Outlook", "closing_listeners", "external_listener", "external_routes", "outlook"]

_ALLOW_ANY, _BLOCK_ALL = "allow_any", "block_all"
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - stands for every destination; no socket is opened


@dataclass(frozen=True)
class _Host:
    """A host at a port, and the user's rules for it."""

    host: str
    port: EntryPort
    rules: tuple[Rule, ...]
    streams: tuple[StreamRoute, ...] = ()
    handling: StreamHandling = AS_USUAL
    """Of connections that none of these routes takes."""

    @property
    def cluster(self) -> str:
        return names.outbound_cluster(self.port.number, "", self.host)

    @property
    def is_http(self) -> bool:
        return self.port.protocol in {"http", "http2"}


@dataclass(frozen=True)
class ExternalListener:
    """All that a listener depends on; `address` is an entry's own, or stands for every one."""

    address: str
    port: int
    hosts: tuple[_Host, ...] = ()
    """None: there are only destinations that nobody has registered."""
    keys: hashing.Keys = ()
    """What requests are hashed by, of those clusters that its routes may choose."""

    @property
    def name(self) -> str:
        """The listener's name."""
        return f"{self.address}_{self.port}"

    @property
    def has_requests(self) -> bool:
        """Whether there are routes for it."""
        return any(host.is_http for host in self.hosts)

    @property
    def requests_of_one_host(self) -> bool:
        """Whether every request goes to the same host, whatever it is addressed to."""
        return self.address != _ANY_ADDRESS and sum(host.is_http for host in self.hosts) == 1

    @cached_property
    def targets(self) -> frozenset[str]:
        """The clusters that its routes may choose."""
        rules = (rule for host in self.hosts if host.is_http for rule in host.rules)
        return frozenset(
            names.outbound_cluster(item.port or self.port, item.subset, item.host)
            for rule in rules
            for item in rule.destinations
        )

    def hashing(self, keys: hashing.Keys) -> ExternalListener:
        """The same where clients hash by `keys`."""
        return replace(self, keys=tuple(item for item in keys if item[0] in self.targets) if keys else ())

    def route(self, settings: MeshSettings) -> str:
        """The name of its routes, which say what becomes of requests for unknown hosts."""
        return self.name if settings.allow_unknown or self.requests_of_one_host else f"{self.name}|{_BLOCK_ALL}"


@dataclass(frozen=True)
class Outlook:
    """The listeners for hosts outside, by name, as some clients see them who hash by `keys`."""

    listeners: Mapping[str, ExternalListener]
    keys: hashing.Keys = ()

    def changed(
        self,
        attachments: Attachments,
        hosts: Collection[str],
        keys: hashing.Keys,
        namespace: str,
        labels: Mapping[str, str] | None = None,
    ) -> dict[str, ExternalListener]:
        """Those that are others for such clients, who see no other hosts otherwise than these."""
        if not hosts and keys == self.keys:
            return {}
        made: dict[tuple[str, int], _Host] = {}
        for spec in self.listeners.values():
            for host in spec.hosts:
                if host.host in hosts and (host.host, host.port.number) not in made:
                    made[host.host, host.port.number] = _host(attachments, host.host, host.port, namespace, labels)
        found = {}
        for name, spec in self.listeners.items():
            seen = tuple(made.get((host.host, host.port.number), host) for host in spec.hosts)
            touched = any(one is not other for one, other in zip(seen, spec.hosts, strict=True))
            if touched or keys != self.keys:
                own = (replace(spec, hosts=seen) if touched else spec).hashing(keys)
                if own != spec:
                    found[name] = own
        return found


def outlook(attachments: Attachments, keys: hashing.Keys) -> Outlook:
    """What clients see of whom nothing is known. `keys`: what they hash by."""
    found: dict[tuple[str, int], list[_Host]] = {}
    for one in attachments.outside:
        host = _host(attachments, one.name, one.port, "", None)
        for address in one.entry.addresses or (_ANY_ADDRESS,):
            found.setdefault((address, one.port.number), []).append(host)
    made = (ExternalListener(address, port, tuple(hosts)).hashing(keys) for (address, port), hosts in found.items())
    return Outlook({spec.name: spec for spec in made}, keys)


def _host(
    attachments: Attachments, name: str, port: EntryPort, namespace: str, labels: Mapping[str, str] | None
) -> _Host:
    own = attachments.host_rules(name, port.number, namespace, labels)
    whole = Destination(name, port.number)
    policy = attachments.policy_of(whole, port.number, namespace)
    return _Host(
        name,
        port,
        own if own is not None else (Rule(destinations=(whole,)),),
        attachments.streams(name, port.number, namespace, labels),
        StreamHandling.of(policy),
    )


def closing_listeners(snapshot: Snapshot, others: Collection[ExternalListener]) -> Iterator[ExternalListener]:
    """Those beside the `others` that only proxies need which may call nobody who is not registered.

    One for each port on which a Service speaks HTTP, or may. Not the proxy's own: it listens there at every address
    itself, and Envoy refuses the second of two such listeners.
    """
    spoken = {
        port.port
        for service in snapshot.services.values()
        for port in service.ports
        if port.protocol is not Protocol.TCP and port.port not in RESERVED_PORTS
    }
    for number in sorted(spoken - {one.port for one in others if one.address == _ANY_ADDRESS}):
        yield ExternalListener(_ANY_ADDRESS, number)


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
    chains = list(_stream_chains(spec, settings))
    if any(chain.match.transport_protocol == "tls" for chain in chains):
        listener.listener_filters.append(filters.tls_inspector())
    if not spec.hosts or spec.has_requests:
        listener.listener_filters.append(filters.http_inspector())
        match = FilterChainMatch(application_protocols=filters.HTTP_SNIFFED)
        inline = None if spec.hosts else external_routes(spec, settings)
        manager = filters.http_outbound(settings, spec.route(settings), inline)
        chains.insert(0, Chain("http", match, (manager,)))
    listener.filter_chains.extend(filter_chains(chains))
    listener.default_filter_chain.CopyFrom(FilterChain(name="other", filters=[_other(spec, settings)]))
    return listener


def _stream_chains(spec: ExternalListener, settings: MeshSettings) -> Iterator[Chain]:
    """The chains for connections that are told by their SNI or by the address asked for, those of routes first."""
    anywhere = spec.address == _ANY_ADDRESS
    for host in (one for one in spec.hosts if not one.is_http):
        by_name = host.port.protocol == "tls"
        own = FilterChainMatch(transport_protocol="tls", server_names=[host.host]) if by_name else FilterChainMatch()
        for index, stream in enumerate(host.streams):
            # Of an address that is known it is decided here whether the route is for it.
            if not anywhere and not stream.at(spec.address):
                continue
            match, subnets = own, stream.subnets if anywhere else ()
            if stream.tls:
                names = _names(stream, host.host) if anywhere and by_name else stream.server_names
                match = FilterChainMatch(transport_protocol="tls", server_names=names)
                if anywhere and not names:
                    continue
            elif not subnets:
                continue  # of the connections that no other chain takes
            yield Chain(f"{host.host}-{index}", match, (outbound.routed(stream, spec.port, settings),), subnets)
        if by_name:
            yield Chain(f"tls-{host.host}", own, (_rest(spec, host, settings),))


def _names(stream: StreamRoute, host: str) -> list[str]:
    """The SNIs that both the route and the host stand for: another host's connections are not this one's."""
    both = (intersection(host, name) for name in stream.server_names or (host,))
    return list(dict.fromkeys(name for name in both if name is not None))


def _rest(spec: ExternalListener, host: _Host, settings: MeshSettings) -> Any:
    """The filter for connections to a host that no chain of a route takes."""
    anywhere = spec.address == _ANY_ADDRESS
    held = (one for one in host.streams if not one.tls and not (one.subnets if anywhere else not one.at(spec.address)))
    stream = next(held, None) if not host.is_http else None
    if stream is not None:
        return outbound.routed(stream, spec.port, settings)
    return filters.tcp(settings, "outbound", host.cluster, handling=host.handling)


def _other(spec: ExternalListener, settings: MeshSettings) -> Any:
    """The filter for what no chain takes."""
    raw = next((host for host in spec.hosts if host.port.protocol == "tcp"), None)
    if raw is None and spec.address != _ANY_ADDRESS:
        # At an address of its own an entry gets everything; at any address only what names it.
        raw = spec.hosts[0]
    if raw is None:
        return filters.tcp(settings, "outbound", outbound.unknown_cluster(settings))
    return _rest(spec, raw, settings)


def external_routes(spec: ExternalListener, settings: MeshSettings) -> Any:
    """The routes of such a listener: a virtual host for each name, and one for all that are not known."""
    hosts = [host for host in spec.hosts if host.is_http]
    if spec.requests_of_one_host:
        found = [routes.virtual_host(hosts[0].host, ["*"], hosts[0].rules, hosts[0].host, spec.port)]
    else:
        found = [
            routes.virtual_host(host.host, [host.host, f"{host.host}:{spec.port}"], host.rules, host.host, spec.port)
            for host in hosts
        ]
        found.append(_unknown(settings))
    configuration = RouteConfiguration(
        name=spec.route(settings),
        virtual_hosts=found,
        validate_clusters=BoolValue(value=False),
    )
    return hashing.hash_actions(configuration, spec.keys)


def _unknown(settings: MeshSettings) -> Any:
    name = _ALLOW_ANY if settings.allow_unknown else _BLOCK_ALL
    route = Route(name=name, match=RouteMatch(prefix="/"))
    if settings.allow_unknown:
        route.route.CopyFrom(RouteAction(cluster=names.PASSTHROUGH, timeout=Duration()))
    else:
        # What Istio answers where only registered hosts may be called.
        route.direct_response.CopyFrom(DirectResponseAction(status=502))
    return VirtualHost(name=name, domains=["*"], routes=[route])
