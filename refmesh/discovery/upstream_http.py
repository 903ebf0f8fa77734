"""How requests go on from a proxy to a cluster: in which protocol, and how long their connections may last."""

from __future__ import annotations

from typing import Any

from envoy.config.common.matcher.v3.matcher_pb2 import HttpHeadersMatch, MatchPredicate
from envoy.config.core.v3.protocol_pb2 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    KeepaliveSettings,
)
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions as UpstreamHttp
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from refmesh.api.client_tls import ClientTls
from refmesh.api.limits import ConnectionPool, OutlierDetection
from refmesh.config.model import Protocol
from refmesh.discovery import b3, origination
from refmesh.discovery.packing import duration, pack, uint32

__all__ = ["HTTP_OPTIONS", "http_options", "spoken"]

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_NO_POOL = ConnectionPool()


def spoken(protocol: Protocol, pool: ConnectionPool | None) -> Protocol:
    """What is spoken to a port by what it is said to speak and what a rule wants.

    HTTP2, gRPC too: always that. Anything else: what a request came as, unless the client's side says otherwise.
    """
    wanted = pool or _NO_POOL
    if protocol is Protocol.GRPC_WEB:
        return Protocol.HTTP2  # what clients speak is not what becomes of it
    if protocol is Protocol.HTTP2 and wanted.client_protocol:
        return Protocol.HTTP
    return Protocol.HTTP2 if wanted.upgrade and protocol is not Protocol.TCP else protocol


def http_options(
    protocol: Protocol,
    pool: ConnectionPool | None = None,
    *,
    http1: bool = False,
    originated: ClientTls | None = None,
    outlier: OutlierDetection | None = None,
    write_b3: bool = False,
) -> Any:
    """The options of a cluster, packed.

    `http1`: requests go on so unless the port or a rule says otherwise. `write_b3`: they name their span in B3, too.
    """
    pool = pool or _NO_POOL
    options = UpstreamHttp(
        common_http_protocol_options=_common(pool),
        upstream_http_protocol_options=origination.names_of_requests(originated),
        http_filters=b3.writers() if write_b3 else (),
    )
    if spoken(protocol, pool) is Protocol.HTTP2:
        options.explicit_http_config.http2_protocol_options.CopyFrom(_http2(pool))
    elif http1 and not pool.client_protocol:
        options.explicit_http_config.http_protocol_options.CopyFrom(Http1ProtocolOptions())
    else:
        options.use_downstream_protocol_config.http_protocol_options.CopyFrom(Http1ProtocolOptions())
        options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(_http2(pool))
    if outlier is not None and outlier.statuses:
        options.outlier_detection.error_matcher.CopyFrom(_any_status(outlier.statuses))
    return pack(options)


def _common(pool: ConnectionPool) -> Any:
    common = HttpProtocolOptions()
    idle = pool.idle_timeout if pool.idle_timeout is not None else pool.tcp_idle_timeout
    if idle is not None:
        common.idle_timeout.CopyFrom(duration(idle))
    if pool.max_connection_duration is not None:
        common.max_connection_duration.CopyFrom(duration(pool.max_connection_duration))
    if pool.max_requests_per_connection is not None:
        common.max_requests_per_connection.value = pool.max_requests_per_connection
    return common


def _http2(pool: ConnectionPool) -> Any:
    options = Http2ProtocolOptions()
    if pool.max_streams is not None:
        options.max_concurrent_streams.CopyFrom(uint32(pool.max_streams))
    if pool.keepalive is not None:
        options.connection_keepalive.CopyFrom(
            KeepaliveSettings(
                interval=duration(pool.keepalive.interval),
                timeout=duration(pool.keepalive.timeout),
            )
        )
    return options


def _any_status(statuses: tuple[int, ...]) -> Any:
    rules = [
        MatchPredicate(
            http_response_headers_match=HttpHeadersMatch(
                headers=[HeaderMatcher(name=":status", string_match=StringMatcher(exact=str(status)))]
            )
        )
        for status in statuses
    ]
    if len(rules) == 1:
        return rules[0]
    return MatchPredicate(or_match=MatchPredicate.MatchSet(rules=rules))
