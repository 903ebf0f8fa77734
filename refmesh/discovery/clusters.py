"""Clusters: where requests can go, with limits, outlier detection and, per endpoint, mutual TLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import BindConfig, SocketAddress
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.struct_pb2 import Struct

from refmesh.api.destination_rule import TrafficPolicy
from refmesh.api.limits import ConnectionPool
from refmesh.api.load_balancer import CONSISTENT_HASH
from refmesh.config.model import Protocol
from refmesh.discovery import balancing, endpoints, names, origination, tls
from refmesh.discovery.counting import host_metadata
from refmesh.discovery.limits import circuit_breakers, connection_options, outlier_detection, retry_budget
from refmesh.discovery.packing import duration
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.upstream_http import HTTP_OPTIONS, http_options, spoken

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
    """Requests go on as HTTP/1.1 whatever they came as, unless the port is said to speak HTTP/2 or a rule speaks of it:
    what browsers speak to a gateway says nothing of what the application speaks."""

    @property
    def name(self) -> str:
        """The cluster's name."""
        if self.direct:
            return names.direct_cluster(self.port, self.host)
        return names.outbound_cluster(self.port, self.subset, self.host)


def outbound_cluster(spec: OutboundCluster, settings: MeshSettings) -> Any:
    """The cluster for a service port or subset."""
    cluster = _limited(spec, settings, _CONNECT_SERVICE_SECONDS, http1=spec.http1)
    if spec.direct or spec.policy.balancer == "PASSTHROUGH":
        cluster.type, cluster.lb_policy = Cluster.ORIGINAL_DST, Cluster.CLUSTER_PROVIDED
        mutual = spec.policy.tls_mode == "ISTIO_MUTUAL" or (spec.direct and spec.policy.tls_mode != "DISABLE")
        if not _originate(cluster, spec.policy, spec.host, spec.protocol) and mutual:
            cluster.transport_socket.CopyFrom(_secured(spec, settings))
        return cluster
    _discover(cluster)
    _balance(cluster, spec.policy)
    _transport(cluster, spec, settings)
    return cluster


def _limited(
    spec: OutboundCluster | ExternalCluster, settings: MeshSettings, connect_seconds: float, *, http1: bool = False
) -> Any:
    """A cluster with the limits that a policy sets, and nothing said of its endpoints yet."""
    policy, pool = spec.policy, spec.policy.pool or ConnectionPool()
    options = http_options(
        spec.protocol,
        pool,
        http1=http1,
        originated=policy.tls,
        outlier=policy.outlier,
        write_b3=settings.write_b3,
    )
    cluster = Cluster(
        name=spec.name,
        metadata=host_metadata(spec.host),
        connect_timeout=duration(pool.connect_timeout or connect_seconds),
        circuit_breakers=circuit_breakers(pool),
        upstream_connection_options=connection_options(pool),
        typed_extension_protocol_options={HTTP_OPTIONS: options},
    )
    if policy.retry_budget is not None:
        cluster.circuit_breakers.thresholds[0].retry_budget.CopyFrom(retry_budget(policy.retry_budget))
    return cluster


def _discover(cluster: Any) -> None:
    """Endpoints come from the control plane."""
    cluster.type = Cluster.EDS
    source = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
    cluster.eds_cluster_config.CopyFrom(Cluster.EdsClusterConfig(service_name=cluster.name, eds_config=source))


def _balance(cluster: Any, policy: TrafficPolicy) -> None:
    """Which of several endpoints gets the next request, and which none."""
    cluster.lb_policy = lb_policy(policy.balancer)
    balancing.refine(cluster, policy)
    if policy.outlier is not None:
        cluster.outlier_detection.CopyFrom(outlier_detection(policy.outlier))
        # Without it Envoy spreads traffic over ejected hosts once half of them are out.
        cluster.common_lb_config.healthy_panic_threshold.CopyFrom(Percent(value=policy.outlier.min_health_percent or 0))


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
    cluster.transport_socket.CopyFrom(origination.transport_socket(policy.tls, host, spoken(protocol, policy.pool)))
    return True


@dataclass(frozen=True)
class ExternalCluster:
    """All that a cluster for a host outside the mesh depends on.

    It gets what the client sends, in TLS where the policy asks for that. Who of the mesh is there is not known: with
    ISTIO_MUTUAL anybody in it may be.
    """

    name: str
    resolution: str
    addresses: tuple[endpoints.Address, ...]
    """With the resolution DNS: the names that are looked up."""
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

    @property
    def subset(self) -> str:
        """The subset; empty: all of the host."""
        return self.name.split("|")[2]


def external_cluster(spec: ExternalCluster, settings: MeshSettings) -> Any:
    """The cluster for a host outside the mesh: its endpoints as they are, looked up, or the address asked for."""
    cluster = _limited(spec, settings, _CONNECT_SECONDS)
    if not _originate(cluster, spec.policy, spec.host, spec.protocol) and spec.policy.tls_mode == "ISTIO_MUTUAL":
        server_name = names.sni(spec.port, spec.subset, spec.host)
        cluster.transport_socket.CopyFrom(
            tls.upstream_to_anybody(server_name, settings.trust_domain, _mesh_alpn(spec.protocol))
        )
    if spec.resolution == "NONE" or spec.policy.balancer == "PASSTHROUGH":
        cluster.type, cluster.lb_policy = Cluster.ORIGINAL_DST, Cluster.CLUSTER_PROVIDED
        return cluster
    if spec.resolution == "DNS":
        cluster.type, cluster.dns_lookup_family = Cluster.STRICT_DNS, Cluster.V4_ONLY
        cluster.load_assignment.CopyFrom(endpoints.assignment(spec.name, spec.addresses))
    else:
        _discover(cluster)
    _balance(cluster, spec.policy)
    return cluster


def inbound_cluster(
    name: str, settings: MeshSettings, *, http1: bool = False, protocol: Protocol = Protocol.AUTO
) -> Any:
    """The hop from proxy to application: the address that the client asked for, from a source that is not captured.

    Whatever they came as, requests go on in HTTP/1.1 with `http1`, and in HTTP/2 where `protocol` is gRPC-Web.
    """
    spoken = protocol if protocol is Protocol.GRPC_WEB else Protocol.AUTO
    return Cluster(
        name=name,
        type=Cluster.ORIGINAL_DST,
        lb_policy=Cluster.CLUSTER_PROVIDED,
        connect_timeout=duration(_CONNECT_SECONDS),
        circuit_breakers=circuit_breakers(ConnectionPool()),
        upstream_bind_config=BindConfig(source_address=SocketAddress(address=LAST_HOP_SOURCE, port_value=0)),
        typed_extension_protocol_options={HTTP_OPTIONS: http_options(spoken, http1=http1, write_b3=settings.write_b3)},
    )


def _passthrough(settings: MeshSettings) -> Any:
    return Cluster(
        name=names.PASSTHROUGH,
        type=Cluster.ORIGINAL_DST,
        lb_policy=Cluster.CLUSTER_PROVIDED,
        connect_timeout=duration(_CONNECT_SECONDS),
        circuit_breakers=circuit_breakers(ConnectionPool()),
        typed_extension_protocol_options={HTTP_OPTIONS: http_options(Protocol.AUTO, write_b3=settings.write_b3)},
    )


def _black_hole(_: MeshSettings) -> Any:
    return Cluster(name=names.BLACK_HOLE, type=Cluster.STATIC, connect_timeout=duration(1.0))


STATIC_CLUSTERS: Mapping[str, Callable[[MeshSettings], Any]] = {
    names.PASSTHROUGH: _passthrough,
    names.BLACK_HOLE: _black_hole,
    names.INBOUND_PASSTHROUGH: partial(inbound_cluster, names.INBOUND_PASSTHROUGH),
}
"""The clusters that every proxy has, and how each is made."""
