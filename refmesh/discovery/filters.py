"""The filters that listeners are built from: HTTP connection manager, TCP proxy, access logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter, ListenerFilter
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.grpc_web.v3.grpc_web_pb2 import GrpcWeb
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.type.v3.hash_policy_pb2 import HashPolicy
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.config.model import Protocol
from refmesh.discovery import counting, guards, names, tls, tracing
from refmesh.discovery.access_logs import access_log
from refmesh.discovery.guards import Guard
from refmesh.discovery.limits import AS_USUAL, StreamHandling
from refmesh.discovery.packing import duration, pack, uint32
from refmesh.discovery.routes import CORS_FILTER, FAULT_FILTER
from refmesh.discovery.settings import MeshSettings

__all__ = [
    "HTTP_SNIFFED",
    "http_gateway",
    "http_inbound",
    "http_inspector",
    "http_outbound",
    "offer_http_alpn",
    "original_dst",
    "peer_header",
    "tcp",
    "tcp_split",
    "tls_inspector",
]

HTTP_SNIFFED = ("http/1.0", "http/1.1", "h2c")
"""What the HTTP inspector reports for plaintext HTTP."""

_HCM = "envoy.filters.network.http_connection_manager"


def _connection_manager(
    settings: MeshSettings, direction: str, stat_prefix: str, filters: list[Any], counters: list[Any]
) -> Any:
    manager = HttpConnectionManager(
        stat_prefix=stat_prefix,
        codec_type=HttpConnectionManager.AUTO,
        http_filters=[
            *filters,
            HttpFilter(name="envoy.filters.http.router", typed_config=pack(Router())),
        ],
        access_log=[*access_log(settings, direction, http=True), *counters],
        # The mesh adds no time limits of its own, and leaves alone what applications say to each other.
        stream_idle_timeout=Duration(),
        request_timeout=Duration(),
        server_header_transformation=HttpConnectionManager.PASS_THROUGH,
        preserve_external_request_id=True,
        use_remote_address=BoolValue(value=False),
        normalize_path=BoolValue(value=True),
        http_protocol_options=Http1ProtocolOptions(accept_http_10=True),
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
    )
    manager.common_http_protocol_options.idle_timeout.CopyFrom(Duration(seconds=3600))
    tracing.trace(manager, settings)
    return manager


def _discovered(route: str) -> Any:
    source = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
    return Rds(route_config_name=route, config_source=source)


def http_outbound(
    settings: MeshSettings,
    route: str,
    inline: RouteConfiguration | None = None,
    *,
    peer: str = "",
    protocol: Protocol = Protocol.AUTO,
) -> Any:
    """Requests of the application, routed by the named route configuration or by the one given inline.

    `peer`: the workload that the address belongs to, where there is only one.
    """
    cors = HttpFilter(name=CORS_FILTER, typed_config=pack(Cors()))
    fault = HttpFilter(name=FAULT_FILTER, typed_config=pack(HTTPFault()))
    manager = _connection_manager(
        settings,
        "outbound",
        "outbound",
        [counting.announce_peer(), cors, fault, *_translating(protocol)],
        counting.requests("source", peer=peer),
    )
    if inline is not None:
        manager.route_config.CopyFrom(inline)
    else:
        manager.rds.CopyFrom(_discovered(route))
    # An application cannot vouch for a peer: what it puts into the header does not leave the pod.
    manager.forward_client_cert_details = HttpConnectionManager.SANITIZE
    return Filter(name=_HCM, typed_config=pack(manager))


def http_gateway(settings: MeshSettings, route: str, guard: Guard) -> Any:
    """Requests from outside the mesh, which nobody vouches for, routed by the named route configuration.

    Limits are those that Envoy's guide for edge proxies gives. The guard's rules come with the routes; without a guard
    there are no filters, since a request that no route takes has no rules either, and is to be a 404.
    """
    fault = HttpFilter(name=FAULT_FILTER, typed_config=pack(HTTPFault()))
    cors = HttpFilter(name=CORS_FILTER, typed_config=pack(Cors()))
    counters = counting.requests("source")
    manager = _connection_manager(settings, "gateway", "gateway", [counting.announce_peer(), cors, fault], counters)
    manager.rds.CopyFrom(_discovered(route))
    manager.forward_client_cert_details = HttpConnectionManager.SANITIZE
    # The client's address goes on in X-Forwarded-For; what outsiders say in x-envoy headers does not count.
    manager.use_remote_address.value = True
    manager.request_headers_timeout.CopyFrom(Duration(seconds=10))
    manager.http2_protocol_options.CopyFrom(
        Http2ProtocolOptions(
            max_concurrent_streams=uint32(100),
            initial_stream_window_size=uint32(64 * 1024),
            initial_connection_window_size=uint32(1024 * 1024),
        )
    )
    if guard != Guard():
        guards.protect(manager, guard)
    return Filter(name=_HCM, typed_config=pack(manager))


def peer_header(verified: bool) -> Any:
    """What becomes of the header that names the peer: a caller's own is dropped; a verified peer is put there."""
    return HttpConnectionManager.SANITIZE_SET if verified else HttpConnectionManager.SANITIZE


def _translating(protocol: Protocol) -> list[Any]:
    """Makes gRPC of gRPC-Web on ports that are said to get it; other requests pass as they are."""
    web = HttpFilter(name="envoy.filters.http.grpc_web", typed_config=pack(GrpcWeb()))
    return [web] if protocol is Protocol.GRPC_WEB else []


def http_inbound(
    settings: MeshSettings,
    port: int,
    guard: Guard,
    *,
    verified: bool,
    target: str = "",
    protocol: Protocol = Protocol.AUTO,
) -> Any:
    """Requests to the application. `verified`: the connection showed a client certificate.

    `target` names the service that they are counted for.
    """
    counters = counting.requests("destination", target)
    # After the guards: each workload that is named becomes statistics, which a client that is refused may not make.
    # The certificate tells of whom a refusal was, and the client's own proxy counts it with both ends.
    own = [*_translating(protocol), *([counting.learn_peer()] if verified else [])]
    manager = _connection_manager(settings, "inbound", f"inbound_{port}", own, counters)
    manager.rds.CopyFrom(_discovered(names.inbound_route(port)))
    guards.protect(manager, guard)
    if not verified:
        # First, so that nobody else judges by a header that anybody may send.
        guards.first(manager, counting.forget_peer())
    manager.forward_client_cert_details = peer_header(verified)
    if verified:
        details = HttpConnectionManager.SetCurrentClientCertDetails(subject=BoolValue(value=True), uri=True, dns=True)
        manager.set_current_client_cert_details.CopyFrom(details)
    return Filter(name=_HCM, typed_config=pack(manager))


def _stream_logs(settings: MeshSettings, direction: str, target: str, peer: str) -> list[Any]:
    """What is logged and counted of connections; without a `target` they are not counted."""
    logs = [counting.at_end(log) for log in access_log(settings, direction, http=False)]
    if target:
        logs.extend(counting.streams("source" if direction == "outbound" else "destination", target, peer))
    return logs


def tcp(
    settings: MeshSettings,
    direction: str,
    cluster: str,
    attempts: int = 1,
    *,
    target: str = "",
    peer: str = "",
    handling: StreamHandling = AS_USUAL,
) -> Any:
    """Bytes to one cluster. More `attempts` make sense where the cluster has more than one endpoint to try.

    `target`, if not the cluster, is what they are counted for; `peer` the workload there, where there is only one.
    """
    proxy = TcpProxy(
        stat_prefix=cluster,
        cluster=cluster,
        access_log=_stream_logs(settings, direction, "" if cluster == names.BLACK_HOLE else target or cluster, peer),
        access_log_options=TcpProxy.TcpAccessLogOptions(flush_access_log_on_connected=True),
        max_connect_attempts=uint32(attempts),
    )
    _handle(proxy, handling)
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy))


def tcp_split(
    settings: MeshSettings,
    direction: str,
    shares: Sequence[tuple[str, int]],
    attempts: int = 1,
    *,
    handling: StreamHandling = AS_USUAL,
) -> Any:
    """Bytes to one of several clusters by weight, connection by connection."""
    if len(shares) == 1:
        return tcp(settings, direction, shares[0][0], attempts, target=counting.CHOSEN_HOST, handling=handling)
    clusters = [TcpProxy.WeightedCluster.ClusterWeight(name=name, weight=weight) for name, weight in shares]
    proxy = TcpProxy(
        stat_prefix=f"{direction}_split",
        weighted_clusters=TcpProxy.WeightedCluster(clusters=clusters),
        access_log=_stream_logs(settings, direction, counting.CHOSEN_HOST, ""),
        access_log_options=TcpProxy.TcpAccessLogOptions(flush_access_log_on_connected=True),
        max_connect_attempts=uint32(attempts),
    )
    _handle(proxy, handling)
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy))


def _handle(proxy: Any, handling: StreamHandling) -> None:
    """What a rule wants of connections. They may be idle for an hour, and last for ever, where none says otherwise."""
    proxy.idle_timeout.CopyFrom(duration(handling.idle) if handling.idle is not None else Duration(seconds=3600))
    if handling.longest is not None:
        proxy.max_downstream_connection_duration.CopyFrom(duration(handling.longest))
    if handling.by_source:
        proxy.hash_policy.append(HashPolicy(source_ip=HashPolicy.SourceIp()))


def offer_http_alpn() -> Any:
    """Tells the upstream TLS socket that requests follow, on ports where that is known per connection only."""
    text = SubstitutionFormatString()
    text.text_format_source.inline_string = f"{tls.MESH_ALPN_HTTP},{tls.MESH_ALPN_TCP}"
    value = FilterStateValue(
        object_key="envoy.network.application_protocols",
        format_string=text,
        shared_with_upstream=FilterStateValue.ONCE,
    )
    return Filter(
        name="envoy.filters.network.set_filter_state",
        typed_config=pack(SetFilterState(on_new_connection=[value])),
    )


def original_dst() -> Any:
    """Restores the address that the redirect rules replaced."""
    return ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=pack(OriginalDst()))


def tls_inspector() -> Any:
    """Tells TLS from plaintext."""
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=pack(TlsInspector()))


def http_inspector() -> Any:
    """Tells HTTP from other plaintext."""
    return ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=pack(HttpInspector()))
