"""A gateway's listeners and routes in Envoy's words. Who may come in where is decided elsewhere (`gateways`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import DirectResponseAction, Route, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.api.routing import Rule
from refmesh.config.model import Key
from refmesh.discovery import filters, guards, routes, tls
from refmesh.discovery.guards import Guard
from refmesh.discovery.hashing import Keys, hash_actions
from refmesh.discovery.outbound import CONNECT_ATTEMPTS, socket_address
from refmesh.discovery.packing import duration, uint32
from refmesh.discovery.settings import MeshSettings
from refmesh.ingress.names import bound_port

__all__ = ["Chain", "GatewayPort", "Site", "gateway_listener", "gateway_routes", "roots_name", "secret_name"]

_TLS_SECONDS = 10.0
_BUFFER_BYTES = 32 * 1024


@dataclass(frozen=True)
class Site:
    """The rules for requests to a host, whose first label may be `*`; `*` alone is every host."""

    domain: str
    rules: tuple[Rule, ...]
    misdirected: bool = False
    """Requests for the host belong on connections of another chain: they are answered 421 (RFC 9110, 15.5.20)."""


@dataclass(frozen=True)
class Chain:
    """Connections for one of `server_names` (TLS's SNI; none: every connection), and the sites they may ask for.

    Or, with `shares`, connections that are not looked into.
    """

    name: str
    sites: tuple[Site, ...]
    server_names: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """Names of the certificates that TLS is ended with; none: plaintext."""
    roots: str = ""
    """Name of the CA certificates that clients must have one of; none: nothing is asked of them."""
    shares: tuple[tuple[str, int], ...] | None = None
    """Clusters that connections go to, by weight."""
    passed: bool = False
    """TLS that is not ended here: connections without it have no part in the chain."""


@dataclass(frozen=True)
class GatewayPort:
    """A port of the gateway's Service."""

    number: int
    chains: tuple[Chain, ...]

    @property
    def name(self) -> str:
        """The listener's name."""
        return f"0.0.0.0_{self.number}"


def secret_name(key: Key) -> str:
    """What proxies call a certificate."""
    return f"kubernetes://{key[0]}/{key[1]}"


def roots_name(key: Key) -> str:
    """What proxies call the CA certificates of a Secret."""
    return f"{secret_name(key)}#ca"


def gateway_listener(port: GatewayPort, guard: Guard, settings: MeshSettings) -> Any:
    """The listener of a port. What it depends on of the routes is their names."""
    listener = Listener(
        name=port.name,
        address=socket_address("0.0.0.0", bound_port(port.number)),  # noqa: S104 - a door is open to everybody
        # Inbound ones are drained when the pod ends.
        traffic_direction=TrafficDirection.INBOUND,
        per_connection_buffer_limit_bytes=uint32(_BUFFER_BYTES),
    )
    for chain in port.chains:
        made = FilterChain(name=chain.name, filters=_filters(chain, guard, settings))
        if chain.server_names or chain.passed:
            protocol = "tls" if chain.passed else ""
            match = FilterChainMatch(server_names=chain.server_names, transport_protocol=protocol)
            made.filter_chain_match.CopyFrom(match)
        if chain.secrets:
            made.transport_socket.CopyFrom(tls.terminate(chain.secrets, chain.roots))
            made.transport_socket_connect_timeout.CopyFrom(duration(_TLS_SECONDS))
        listener.filter_chains.append(made)
    if any(chain.secrets or chain.passed for chain in port.chains):
        listener.listener_filters.append(filters.tls_inspector())
        listener.listener_filters_timeout.CopyFrom(duration(_TLS_SECONDS))
    return listener


def _filters(chain: Chain, guard: Guard, settings: MeshSettings) -> list[Any]:
    if chain.shares is None:
        return [filters.http_gateway(settings, chain.name, guard)]
    kept_out = guards.network_filters(guard.authorization, settings.trust_domain)
    return [*kept_out, filters.tcp_split(settings, "outbound", chain.shares, attempts=CONNECT_ATTEMPTS)]


def gateway_routes(chain: Chain, keys: Keys, guard: Guard, trust_domain: str) -> Any:
    """The routes of a chain, with the rules of who may ask for them; requests to other hosts get a 404."""
    hosts = [_virtual_host(site) for site in chain.sites]
    configuration = RouteConfiguration(
        name=chain.name,
        virtual_hosts=hosts,
        ignore_port_in_host_matching=True,
        validate_clusters=BoolValue(value=False),
    )
    # Without rules as well: a listener whose filters come before the rules or outlive them would refuse everybody.
    for name, rules in guards.route_rules(guard.authorization, trust_domain).items():
        configuration.typed_per_filter_config[name].CopyFrom(rules)
    if guard != Guard():
        configuration.ignore_path_parameters_in_path_matching = guards.ignores_path_parameters()
    return hash_actions(configuration, keys)


def _virtual_host(site: Site) -> Any:
    if not site.misdirected:
        return routes.virtual_host(site.domain, [site.domain], site.rules, "", 0)
    answer = Route(name="misdirected", match=RouteMatch(prefix="/"), direct_response=DirectResponseAction(status=421))
    return VirtualHost(name=site.domain, domains=[site.domain], routes=[answer])
