"""Spans as refmesh keeps them, and reading them out of OTLP as Envoy reports it.

Format: https://opentelemetry.io/docs/specs/otlp/ and Envoy's tracing attributes; xds-protos carries the messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from refmesh.telemetry.entries import path_of

__all__ = ["Span", "read"]

_TEXT = 256
"""Characters kept of any text that a proxy sends."""
_TAGS = 48
_KINDS = {SpanMessage.SPAN_KIND_CLIENT: "client", SpanMessage.SPAN_KIND_SERVER: "server"}
_KNOWN = {
    "http.method": "method",
    "http.url": "url",
    "http.status_code": "status",
    "upstream_cluster.name": "upstream",
    "response_flags": "flags",
}
_UNSAID = {"node_id", "zone", "component", "upstream_cluster", "downstream_cluster", "error"}
"""Attributes that say the same of every span of a proxy, or say what others say already."""


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work within a trace. Times in seconds, `start` since the epoch."""

    trace: str
    """32 hexadecimal digits, as in `traceparent`."""
    id: str
    parent: str
    """The span that it belongs to; empty for a trace's first."""
    service: str
    version: str
    pod: str
    """`POD.NAMESPACE`."""
    kind: str
    """client: a call that the service made; server: one that it answered."""
    method: str
    url: str
    status: int
    """0 where there was no response."""
    failed: bool
    start: float
    seconds: float
    upstream: str = ""
    flags: str = ""
    """Envoy's response flags."""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """The path asked for, and nothing that comes after it."""
        return path_of(self.url) if "://" in self.url else ""

    @property
    def size(self) -> int:
        """About how many bytes it takes to keep."""
        texts = (self.service, self.version, self.pod, self.method, self.url, self.upstream, self.flags)
        return 600 + sum(map(len, texts)) + sum(100 + len(key) + len(value) for key, value in self.tags)


def read(message: bytes, namespace: str) -> Iterator[Span]:
    """The spans of an ExportTraceServiceRequest that a proxy of a namespace sent. Raises ValueError if it is none.

    Whoever sends them may speak for workloads of its own namespace only: spans said to be of another are left out.
    """
    try:
        request = ExportTraceServiceRequest.FromString(message)
    except Exception as error:
        # The class differs between protobuf's implementations.
        raise ValueError("not an ExportTraceServiceRequest") from error
    for group in request.resource_spans:
        resource = dict(_attributes(group.resource.attributes))
        if resource.get("k8s.namespace.name") != namespace:
            continue
        # Of the messages' first edition, which called this `instrumentation_library_spans`; the numbers are the same.
        for scope in group.instrumentation_library_spans:
            for span in scope.spans:
                if len(span.trace_id) == 16 and len(span.span_id) == 8:
                    yield _span(span, resource, namespace)


def _span(span: Any, resource: dict[str, str], namespace: str) -> Span:
    known: dict[str, str] = {}
    tags = []
    for key, value in _attributes(span.attributes):
        if key in _KNOWN:
            known[_KNOWN[key]] = value
        elif key not in _UNSAID:
            tags.append((key, value))
    status = known.get("status", "")
    code = int(status) if status.isascii() and status.isdigit() and len(status) <= 3 else 0
    return Span(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        service=resource.get("service.name", "") or f"unknown.{namespace}",
        version=resource.get("service.version", ""),
        pod=f"{resource.get('k8s.pod.name', '')}.{namespace}",
        kind=_KINDS.get(span.kind, "client"),
        method=known.get("method", ""),
        url=known.get("url", ""),
        status=code,
        failed=span.status.code == 2 or code >= 500,
        start=span.start_time_unix_nano / 1e9,
        seconds=max(0, span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        upstream=known.get("upstream", ""),
        flags=known.get("flags", "").replace("-", ""),
        tags=tuple(tags[:_TAGS]),
    )


def _attributes(attributes: Any) -> Iterator[tuple[str, str]]:
    for item in attributes:
        value = item.value
        kind = value.WhichOneof("value")
        if kind in {"string_value", "bool_value", "int_value", "double_value"}:
            yield item.key[:_TEXT], str(getattr(value, kind))[:_TEXT]
