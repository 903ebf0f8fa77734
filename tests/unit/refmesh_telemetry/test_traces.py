"""The ring of traces stays within its bounds, and the receiver takes spans from whom they are about."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from refmesh.telemetry import receiver
from refmesh.telemetry.receiver import Receiver
from refmesh.telemetry.spans import Span, read
from refmesh.telemetry.traces import Traces

SPAN = Span("t1", "a", "", "page.shop", "v1", "page-1.shop", "client", "GET", "http://x/a?b=c", 200, False, 1.0, 0.5)
CALLER = "spiffe://cluster.local/ns/shop/sa/page"


def message(namespace: str = "shop", trace: bytes = b"t" * 16, **attributes: Any) -> bytes:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key, value in {"service.name": "page.shop", "k8s.namespace.name": namespace, "k8s.pod.name": "p"}.items():
        group.resource.attributes.add(key=key).value.string_value = value
    span = group.instrumentation_library_spans.add().spans.add(
        trace_id=trace, span_id=b"s" * 8, kind=2, start_time_unix_nano=5_000_000_000, end_time_unix_nano=4_000_000_000
    )
    for key, value in attributes.items():
        span.attributes.add(key=key).value.string_value = value
    found: bytes = request.SerializeToString()
    return found


class Aborted(Exception):
    pass


class Context:
    async def abort(self, code: grpc.StatusCode, _: str) -> None:
        raise Aborted(code.name)


def receiving(peer: str | None, clock: Any = lambda: 0.0) -> tuple[Traces, Receiver]:
    traces = Traces()
    return traces, Receiver(traces, "cluster.local", lambda _: peer, clock)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40), st.integers(0, 900)), max_size=120))
def test_the_ring_counts_right_and_stays_within_its_bounds(given_spans: list[tuple[str, int, int]]) -> None:
    traces = Traces(most_spans=30, most_bytes=20_000)
    for trace, number, length in given_spans:
        traces.add([replace(SPAN, trace=trace, id=str(number), url="u" * length)])
        assert len(traces) <= 1 or (traces.spans <= 30 and traces.size <= 20_000)
        whole = [span for found in traces.recent(100) for span in found.spans]
        assert traces.spans == len(whole)
        assert traces.size == sum(span.size for span in whole)
        assert traces.get(trace) is not None


def test_a_trace_that_never_ends_has_a_bound_of_its_own() -> None:
    traces = Traces()
    assert traces.add(replace(SPAN, id=str(number)) for number in range(700)) == 500


def test_a_trace_begins_with_the_span_whose_parent_nobody_sent() -> None:
    traces = Traces()
    late = replace(SPAN, id="b", parent="a", start=0.9, seconds=2.0, failed=True, service="reviews.shop")
    traces.add([late, replace(SPAN, parent="outside")])
    (found,) = traces.recent(5, "reviews.shop")
    assert found.first.id == "a"
    assert (found.start, found.seconds, found.failed) == (0.9, 2.0, True)
    assert found.services == ("reviews.shop", "page.shop")
    assert traces.recent(5, "other.shop") == ()
    assert SPAN.path == "/a"


def test_a_message_is_read_and_nobody_speaks_for_another_namespace() -> None:
    tags: dict[str, Any] = {"http.method": "GET", "http.status_code": "503", "cell": "x" * 1000, "node_id": "n"}
    (span,) = read(message(**tags), "shop")
    assert (span.method, span.status, span.failed, span.seconds, span.kind) == ("GET", 503, True, 0.0, "server")
    assert span.tags == (("cell", "x" * 256),)
    assert list(read(message("kube-system"), "shop")) == []
    assert list(read(message(trace=b"short"), "shop")) == []


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        list(read(data, "shop"))


async def test_only_workloads_of_the_mesh_are_heard() -> None:
    for peer in (None, "", "spiffe://other/ns/shop/sa/page", f"{CALLER}/x", "spiffe://cluster.local/ns/shop"):
        traces, found = receiving(peer)
        with pytest.raises(Aborted, match="PERMISSION_DENIED"):
            await found._export(message(), Context())
        assert not len(traces)
    traces, found = receiving(CALLER)
    assert await found._export(message(), Context()) == b""
    assert len(traces) == 1
    with pytest.raises(Aborted, match="INVALID_ARGUMENT"):
        await found._export(b"\xff\xff", Context())


async def test_what_comes_too_fast_is_dropped_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "_BURST", 1000)
    monkeypatch.setattr(receiver, "_BYTES_PER_SECOND", 100)
    now = 0.0
    traces, found = receiving(CALLER, lambda: now)
    one = message(cell="x" * 500)
    for trace, kept in ((b"a" * 16, True), (b"b" * 16, False)):
        await found._export(message(trace=trace, cell="x" * 500), Context())
        assert (traces.get(trace.hex()) is not None) is kept
    now = len(one) / 100
    await found._export(message(trace=b"c" * 16, cell="x" * 500), Context())
    assert traces.get((b"c" * 16).hex()) is not None
