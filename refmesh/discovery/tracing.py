"""Spans: Envoy's own OpenTelemetry tracer, which reports over OTLP and speaks W3C trace context (`traceparent`).

Spans go to the control plane, over the cluster that proxies reach it by anyway, or to a collector of the user's own.
A request without trace context gets one, recorded or not; with one it keeps its trace and that trace's decision.
Envoy's tracer does not know B3's headers: where the mesh is told to (`trace_b3`), `b3` reads and writes them beside it.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.config.trace.v3.http_tracer_pb2 import Tracing as Provider
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    RequestIDExtension,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as EarlyMutation,
)
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3.environment_resource_detector_pb2 import (
    EnvironmentResourceDetectorConfig,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions as UpstreamHttp
from envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.api.telemetry import Tag
from refmesh.discovery import b3, endpoints, names
from refmesh.discovery.observation import Observation
from refmesh.discovery.packing import duration, pack
from refmesh.discovery.settings import MeshSettings

__all__ = ["COLLECTOR", "collector_cluster", "trace"]

COLLECTOR = "refmesh-tracing"
"""The cluster of the user's own collector; there is none without."""
_CONTROL_PLANE = "xds-grpc"
_EXPORT_SECONDS = 2.0


def trace(manager: Any, settings: MeshSettings) -> None:
    """Have a connection manager trace its requests, if the mesh traces at all."""
    observed = settings.observation
    if observed.sampling is None:
        return
    manager.tracing.CopyFrom(
        HttpConnectionManager.Tracing(
            random_sampling=Percent(value=observed.sampling),
            custom_tags=[_tag(tag) for tag in observed.tags],
            provider=Provider.Http(name="envoy.tracers.opentelemetry", typed_config=pack(_tracer(settings, observed))),
        )
    )
    if mutations := before_tracing(trace_b3=settings.trace_b3):
        early = TypedExtensionConfig(
            name="envoy.http.early_header_mutation.header_mutation",
            typed_config=pack(EarlyMutation(mutations=mutations)),
        )
        manager.early_header_mutation_extensions.append(early)
    # The decision travels in `traceparent`; Envoy would write it into the application's request id as well.
    ids = UuidRequestIdConfig(pack_trace_reason=BoolValue(value=False))
    manager.request_id_extension.CopyFrom(RequestIDExtension(typed_config=pack(ids)))


def before_tracing(*, trace_b3: bool) -> tuple[Any, ...]:
    """What is done to a request's headers before Envoy looks which trace it belongs to."""
    return b3.read() if trace_b3 else ()


def collector_name(settings: MeshSettings) -> str:
    """The cluster that spans are sent to."""
    return COLLECTOR if settings.trace_collector else _CONTROL_PLANE


def _tracer(settings: MeshSettings, observed: Observation) -> Any:
    # Shared configuration cannot name the pod: its agent puts that into the environment before it starts Envoy.
    detector = TypedExtensionConfig(
        name="envoy.tracers.opentelemetry.resource_detectors.environment",
        typed_config=pack(EnvironmentResourceDetectorConfig()),
    )
    # Envoy takes no tracer that has nowhere to report to: what is not to be reported goes where nothing listens.
    target = GrpcService.EnvoyGrpc(cluster_name=names.BLACK_HOLE if observed.silent else collector_name(settings))
    service = GrpcService(envoy_grpc=target, timeout=duration(_EXPORT_SECONDS))
    return OpenTelemetryConfig(grpc_service=service, resource_detectors=[detector])


def _tag(tag: Tag) -> Any:
    found = CustomTag(tag=tag.name)
    if tag.source == "literal":
        found.literal.value = tag.value
    elif tag.source == "environment":
        found.environment.CopyFrom(CustomTag.Environment(name=tag.value, default_value=tag.default))
    else:
        found.request_header.CopyFrom(CustomTag.Header(name=tag.value, default_value=tag.default))
    return found


def collector_cluster(host: str, port: int) -> Any:
    """The user's own collector: OTLP over gRPC without TLS, wherever its name leads."""
    http2 = UpstreamHttp()
    http2.explicit_http_config.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    return Cluster(
        name=COLLECTOR,
        type=Cluster.STRICT_DNS,
        dns_lookup_family=Cluster.V4_ONLY,
        connect_timeout=duration(_EXPORT_SECONDS),
        load_assignment=endpoints.assignment(COLLECTOR, (endpoints.Address(host, port),)),
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(http2)},
    )
