"""What proxies count: Envoy's own stats access logger, fed with the few facts that the agent turns into Istio's labels.

A sidecar has a listener for every service port, and every label here is a piece of each of them, in every proxy. So the
loggers carry only what differs from request to request (`PEER`, `TARGET`, codes); what holds for the whole pod, and
everything that can be read out of these, is added by the agent when somebody scrapes (`refmesh.agent.exposition`).

Who the peer is: a client's proxy reads it from the endpoint that it chose; a server's proxy reads the identity from the
verified certificate, and the workload from a header that is believed over mutual TLS only, of requests that are let in.
The client's proxy replaces that header whatever the application wrote into it, and the server's takes it out.
"""

from __future__ import annotations

from typing import Any

from envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLog,
    AccessLogFilter,
    AndFilter,
    LogTypeFilter,
    OrFilter,
    ResponseFlagFilter,
)
from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, Metadata
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation, Mutations
from envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2 import Config as HeaderToMetadata
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.wrappers_pb2 import UInt64Value

from refmesh.discovery.packing import pack

__all__ = [
    "CHOSEN_HOST",
    "PEER_HEADER",
    "PEER_NAMESPACE",
    "announce_peer",
    "at_end",
    "forget_peer",
    "host_metadata",
    "learn_peer",
    "requests",
    "streams",
]

PEER_HEADER = "x-refmesh-peer"
PEER_NAMESPACE = "refmesh.peer"
"""Metadata namespace: of clusters and endpoints on the client's side, of requests on the server's."""

CHOSEN_HOST = f"%CLUSTER_METADATA({PEER_NAMESPACE}:host)%"
"""The service of the cluster that was chosen, as a target."""
_LOGGER = "envoy.access_loggers.stats"
_PREFIX = "istio"
_NEVER_CONNECTED = ("UF", "UH", "UO", "NR", "NC", "URX")


def host_metadata(host: str) -> Any:
    """Metadata that names the service of a cluster."""
    return Metadata(filter_metadata={PEER_NAMESPACE: Struct(fields={"host": Value(string_value=host)})})


def peer_format(reporter: str) -> str:
    """Where the workload at the other end is read from."""
    if reporter == "source":
        return f"%UPSTREAM_METADATA({PEER_NAMESPACE}:peer)%"
    return f"%DYNAMIC_METADATA({PEER_NAMESPACE}:peer):256%"


def request_counts() -> tuple[str, ...]:
    """The counters that each request adds one to."""
    return ("requests_total",)


def requests(reporter: str, target: str = "", peer: str = "") -> list[Any]:
    """Loggers that count requests.

    `target` names the destination's service; empty: it is that of the cluster which the route chooses. `peer` is the
    workload at the other end where it cannot be another; empty: it is found out for each request.
    """
    tags = [
        *_tags(reporter, target or CHOSEN_HOST, peer),
        Config.Tag(name="response_code", value_format="%RESPONSE_CODE%"),
        Config.Tag(name="grpc_response_status", value_format="%GRPC_STATUS_NUMBER%"),
    ]
    config = Config(
        stat_prefix=_PREFIX,
        counters=[_counter(name, tags, 1) for name in request_counts()],
        histograms=[
            _histogram("request_duration_milliseconds", tags, "%DURATION%", Config.Histogram.Milliseconds),
            _histogram("request_bytes", tags, "%DOWNSTREAM_WIRE_BYTES_RECEIVED%", Config.Histogram.Bytes),
            _histogram("response_bytes", tags, "%DOWNSTREAM_WIRE_BYTES_SENT%", Config.Histogram.Bytes),
        ],
    )
    return [AccessLog(name=_LOGGER, typed_config=pack(config))]


def streams(reporter: str, target: str, peer: str = "") -> list[Any]:
    """Loggers that count connections and their bytes; the bytes of a connection are counted when it ends."""
    tags = _tags(reporter, target, peer)
    opened = Config(stat_prefix=_PREFIX, counters=[_counter("tcp_connections_opened_total", tags, 1)])
    closed = Config(
        stat_prefix=_PREFIX,
        counters=[
            _counter("tcp_connections_closed_total", tags, 1),
            _counter("tcp_sent_bytes_total", tags, "%BYTES_SENT%"),
            _counter("tcp_received_bytes_total", tags, "%BYTES_RECEIVED%"),
        ],
    )
    ended = _at(AccessLogType.TcpConnectionEnd)
    # A connection that found no server was opened by its client all the same.
    failed = AccessLogFilter(
        and_filter=AndFilter(
            filters=[ended, AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=_NEVER_CONNECTED))]
        )
    )
    begun = AccessLogFilter(or_filter=OrFilter(filters=[_at(AccessLogType.TcpUpstreamConnected), failed]))
    return [
        AccessLog(name=_LOGGER, filter=begun, typed_config=pack(opened)),
        AccessLog(name=_LOGGER, filter=ended, typed_config=pack(closed)),
    ]


def at_end(log: Any) -> Any:
    """The log, written once for a connection: when it ends."""
    ended = _at(AccessLogType.TcpConnectionEnd)
    if log.HasField("filter"):
        chosen = AccessLogFilter()
        chosen.CopyFrom(log.filter)
        ended = AccessLogFilter(and_filter=AndFilter(filters=[ended, chosen]))
    log.filter.CopyFrom(ended)
    return log


def announce_peer() -> Any:
    """The client's side: say which workload asks, whatever the application put there."""
    # The agent sets the variable before it starts Envoy, which reads it once.
    value = HeaderValue(key=PEER_HEADER, value="%ENVIRONMENT(REFMESH_PEER)%")
    action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return _mutate(Mutation(append=HeaderValueOption(header=value, append_action=action)))


def learn_peer() -> Any:
    """The server's side, over mutual TLS: note which workload asks; the application does not see the header."""
    rule = HeaderToMetadata.Rule(
        header=PEER_HEADER,
        on_header_present=HeaderToMetadata.KeyValuePair(metadata_namespace=PEER_NAMESPACE, key="peer"),
        remove=True,
    )
    return HttpFilter(
        name="envoy.filters.http.header_to_metadata", typed_config=pack(HeaderToMetadata(request_rules=[rule]))
    )


def forget_peer() -> Any:
    """The server's side, without a verified certificate: nobody's word counts."""
    return _mutate(Mutation(remove=PEER_HEADER))


def _mutate(mutation: Any) -> Any:
    config = HeaderMutation(mutations=Mutations(request_mutations=[mutation]))
    return HttpFilter(name="envoy.filters.http.header_mutation", typed_config=pack(config))


def _tags(reporter: str, target: str, peer: str) -> list[Any]:
    principal = "%UPSTREAM_PEER_URI_SAN%" if reporter == "source" else "%DOWNSTREAM_PEER_URI_SAN%"
    return [
        Config.Tag(name=name, value_format=value)
        for name, value in (
            ("reporter", reporter),
            ("target", target),
            ("peer", peer or peer_format(reporter)),
            ("principal", principal),
            ("response_flags", "%RESPONSE_FLAGS%"),
        )
    ]


def _counter(name: str, tags: list[Any], value: int | str) -> Any:
    counter = Config.Counter(stat=Config.Stat(name=name, tags=tags))
    if isinstance(value, int):
        counter.value_fixed.CopyFrom(UInt64Value(value=value))
    else:
        counter.value_format = value
    return counter


def _histogram(name: str, tags: list[Any], value: str, unit: Any) -> Any:
    return Config.Histogram(stat=Config.Stat(name=name, tags=tags), value_format=value, unit=unit)


def _at(moment: Any) -> Any:
    return AccessLogFilter(log_type_filter=LogTypeFilter(types=[moment]))
