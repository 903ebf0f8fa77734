"""Clusters: where requests can go, with limits, outlier detection and, per endpoint, mutual TLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import BindConfig, SocketAddress
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions as UpstreamHttp
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.struct_pb2 import Struct

from refmesh.api.client_tls import ClientTls
from refmesh.api.destination_rule import ConnectionPool, TrafficPolicy
from refmesh.api.load_balancer import CONSISTENT_HASH
from refmesh.config.model import Protocol
from refmesh.discovery import balancing, endpoints, names, origination, tls
from refmesh.discovery.counting import host_metadata
from refmesh.discovery.limits import circuit_breakers, outlier_detection, retry_budget
from refmesh.discovery.packing import duration, pack
from refmesh.discovery.settings import MeshSettings

__all__ = [
    "LAST_HOP_SOURCE",
    "STATIC_CLUSTERS",
    "ExternalCluster",
    "OutboundCluster",
    "circuit_breakers",
    "external_cluster",
    "inbound_cluster",
    "outbound_cluster",
    "outlier_detection",
    "retry_budget",
]

LAST_HOP_SOURCE = "127.0.0.6"
"""The source address of the hop from proxy to application; the redirect rules let it pass, so it cannot loop."""

_CONNECT_SECONDS = 10.0
# Towards another endpoint of a service: a dead one costs this long, then the next is tried.
_CONNECT_SERVICE_SECONDS = 2.0
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_BALANCERS = {
    None: Cluster.LEAST_REQUEST,
    "UNSPECIFIED": Cluster.LEAST_REQUEST,
    "LEAST_REQUEST": Cluster.LEAST_REQUEST,
    "LEAST_CONN": Cluster.LEAST_REQUEST,
    "RANDOM": Cluster.RANDOM,
    "ROUND_ROBIN": Cluster.ROUND_ROBIN,
    CONSISTENT_HASH: Cluster.RING_HASH,
}


@dataclass(frozen=True)
class OutboundCluster:
    """All that an outbound cluster depends on; equal inputs give an equal cluster."""

    host: str
    port: int
    subset: str
    protocol: Protocol
    policy: TrafficPolicy
    identities: tuple[str, ...]
    direct: bool = False
    """The client names the endpoint itself, which is known to have a proxy."""
    http1: bool = False
    """Requests go on as HTTP/1.1 whatever they came as, unless the port is said to speak HTTP/2: what browsers speak
    to a gateway says nothing of what the application speaks."""

    @property
    def name(self) -> str:
        """The cluster's name."""
        if self.direct:
            return names.direct_cluster(self.port, self.host)
        return names.outbound_cluster(self.port, self.subset, self.host)


def outbound_cluster(spec: OutboundCluster, settings: MeshSettings) -> Any:
    """The cluster for a service port or subset."""
    pool = spec.policy.pool or ConnectionPool()
    cluster = Cluster(
        name=spec.name,
        metadata=host_metadata(spec.host),
        connect_timeout=duration(pool.connect_timeout or _CONNECT_SERVICE_SECONDS),
        circuit_breakers=circuit_breakers(pool),
        typed_extension_protocol_options={
            _HTTP_OPTIONS: _http_options(spec.protocol, pool, http1=spec.http1, originated=spec.policy.tls)
        },
    )
    if spec.policy.retry_budget is not None:
        cluster.circuit_breakers.thresholds[0].retry_budget.CopyFrom(retry_budget(spec.policy.retry_budget))
    if spec.direct or spec.policy.balancer == "PASSTHROUGH":
        cluster.type, cluster.lb_policy = Cluster.ORIGINAL_DST, Cluster.CLUSTER_PROVIDED
        mutual = spec.policy.tls_mode == "ISTIO_MUTUAL" or (spec.direct and spec.policy.tls_mode != "DISABLE")
        if not _originate(cluster, spec.policy, spec.host, spec.protocol) and mutual:
            cluster.transport_socket.CopyFrom(_secured(spec, settings))
        return cluster
    cluster.type, cluster.lb_policy = Cluster.EDS, lb_policy(spec.policy.balancer)
    balancing.refine(cluster, spec.policy)
    cluster.eds_cluster_config.CopyFrom(
        Cluster.EdsClusterConfig(
            service_name=spec.name,
            eds_config=ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3),
        )
    )
    if spec.policy.outlier is not None:
        cluster.outlier_detection.CopyFrom(outlier_detection(spec.policy.outlier))
        # Without it Envoy spreads traffic over ejected hosts once half of them are out.
        cluster.common_lb_config.healthy_panic_threshold.CopyFrom(
            Percent(value=spec.policy.outlier.min_health_percent or 0)
        )
    _transport(cluster, spec, settings)
    return cluster


def lb_policy(balancer: str | None) -> Any:
    """Envoy's name of a balancer."""
    return _BALANCERS[balancer]


def _secured(spec: OutboundCluster, settings: MeshSettings) -> Any:
    # No known identity means no endpoint either; a name that nobody can have keeps the check closed until one appears.
    identities = spec.identities or (f"spiffe://{settings.trust_domain}/none",)
    return tls.upstream(names.sni(spec.port, spec.subset, spec.host), identities, _mesh_alpn(spec.protocol))


def _mesh_alpn(protocol: Protocol) -> tuple[str, ...]:
    return (tls.MESH_ALPN_HTTP, tls.MESH_ALPN_TCP) if protocol.is_http else (tls.MESH_ALPN_TCP,)


def _transport(cluster: Any, spec: OutboundCluster, settings: MeshSettings) -> None:
    """Mutual TLS where endpoints are known to have a proxy, plaintext where not, unless a rule decides."""
    if spec.policy.tls_mode == "DISABLE" or _originate(cluster, spec.policy, spec.host, spec.protocol):
        return
    secured = _secured(spec, settings)
    if spec.policy.tls_mode == "ISTIO_MUTUAL":
        cluster.transport_socket.CopyFrom(secured)
        return
    meshed = Struct()
    meshed.update({"tlsMode": "istio"})
    cluster.transport_socket_matches.extend(
        [
            Cluster.TransportSocketMatch(name="tlsMode-istio", match=meshed, transport_socket=secured),
            Cluster.TransportSocketMatch(name="tlsMode-disabled", match=Struct(), transport_socket=tls.plaintext()),
        ]
    )


def _originate(cluster: Any, policy: TrafficPolicy, host: str, protocol: Protocol) -> bool:
    """TLS of the user's own, where the policy asks for it."""
    if policy.tls is None or not policy.tls.originates:
        return False
    cluster.transport_socket.CopyFrom(origination.transport_socket(policy.tls, host, protocol))
    return True


@dataclass(frozen=True)
class ExternalCluster:
    """All that a cluster for a host outside the mesh depends on.

    It gets what the client sends, in TLS where the policy asks for that. Who of the mesh is there is not known: with
    ISTIO_MUTUAL anybody in it may be.
    """

    name: str
    resolution: str
    addresses: tuple[tuple[str, int], ...]
    protocol: Protocol
    policy: TrafficPolicy

    @property
    def host(self) -> str:
        """The host, whose first label may be `*`."""
        return self.name.rpartition("|")[2]

    @property
    def port(self) -> int:
        """The host's port."""
        return int(self.name.split("|")[1])


def external_cluster(spec: ExternalCluster, settings: MeshSettings) -> Any:
    """The cluster for a host outside the mesh: its endpoints as they are, looked up, or the address asked for."""
    pool = spec.policy.pool or ConnectionPool()
    options = _http_options(spec.protocol, pool, originated=spec.policy.tls)
    cluster = Cluster(
        name=spec.name,
        metadata=host_metadata(spec.host),
        connect_timeout=duration(pool.connect_timeout or _CONNECT_SECONDS),
        circuit_breakers=circuit_breakers(pool),
        typed_extension_protocol_options={_HTTP_OPTIONS: options},
    )
    if not _originate(cluster, spec.policy, spec.host, spec.protocol) and spec.policy.tls_mode == "ISTIO_MUTUAL":
        server_name = names.sni(spec.port, "", spec.host)
        cluster.transport_socket.CopyFrom(
            tls.upstream_to_anybody(server_name, settings.trust_domain, _mesh_alpn(spec.protocol))
        )
    if spec.resolution == "NONE":
        cluster.type, cluster.lb_policy = Cluster.ORIGINAL_DST, Cluster.CLUSTER_PROVIDED
        return cluster
    cluster.type = Cluster.STRICT_DNS if spec.resolution == "DNS" else Cluster.STATIC
    if spec.resolution == "DNS":
        cluster.dns_lookup_family = Cluster.V4_ONLY
    cluster.lb_policy = _BALANCERS.get(spec.policy.balancer, Cluster.LEAST_REQUEST)
    cluster.load_assignment.CopyFrom(
        endpoints.assignment(spec.name, tuple((address, port, False, "") for address, port in spec.addresses))
    )
    if spec.policy.outlier is not None:
        cluster.outlier_detection.CopyFrom(outlier_detection(spec.policy.outlier))
    return cluster


def _http_options(
    protocol: Protocol, pool: ConnectionPool, *, http1: bool = False, originated: ClientTls | None = None
) -> Any:
    common = HttpProtocolOptions()
    if pool.idle_timeout is not None:
        common.idle_timeout.CopyFrom(duration(pool.idle_timeout))
    if pool.max_requests_per_connection is not None:
        common.max_requests_per_connection.value = pool.max_requests_per_connection
    options = UpstreamHttp(
        common_http_protocol_options=common, upstream_http_protocol_options=origination.names_of_requests(originated)
    )
    if protocol is Protocol.HTTP2:
        options.explicit_http_config.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    elif http1:
        options.explicit_http_config.http_protocol_options.CopyFrom(Http1ProtocolOptions())
    else:
        options.use_downstream_protocol_config.http_protocol_options.CopyFrom(Http1ProtocolOptions())
        options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    return pack(options)


def inbound_cluster(name: str) -> Any:
    """The hop from proxy to application: the address that the client asked for, from a source that is not captured."""
    return Cluster(
        name=name,
        type=Cluster.ORIGINAL_DST,
        lb_policy=Cluster.CLUSTER_PROVIDED,
        connect_timeout=duration(_CONNECT_SECONDS),
        circuit_breakers=circuit_breakers(ConnectionPool()),
        upstream_bind_config=BindConfig(source_address=SocketAddress(address=LAST_HOP_SOURCE, port_value=0)),
        typed_extension_protocol_options={_HTTP_OPTIONS: _http_options(Protocol.AUTO, ConnectionPool())},
    )


def _passthrough() -> Any:
    return Cluster(
        name=names.PASSTHROUGH,
        type=Cluster.ORIGINAL_DST,
        lb_policy=Cluster.CLUSTER_PROVIDED,
        connect_timeout=duration(_CONNECT_SECONDS),
        circuit_breakers=circuit_breakers(ConnectionPool()),
        typed_extension_protocol_options={_HTTP_OPTIONS: _http_options(Protocol.AUTO, ConnectionPool())},
    )


def _black_hole() -> Any:
    return Cluster(name=names.BLACK_HOLE, type=Cluster.STATIC, connect_timeout=duration(1.0))


STATIC_CLUSTERS: Mapping[str, Callable[[], Any]] = {
    names.PASSTHROUGH: _passthrough,
    names.BLACK_HOLE: _black_hole,
    names.INBOUND_PASSTHROUGH: partial(inbound_cluster, names.INBOUND_PASSTHROUGH),
}
"""The clusters that every proxy has, and how each is made."""
