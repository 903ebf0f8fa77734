"""The real Envoy traces what goes through the generated filters, and the control plane takes in what it reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from refmesh.api.telemetry import Tag
from refmesh.discovery.observation import Observation
from refmesh.discovery.settings import MeshSettings
from refmesh.telemetry.receiver import Receiver
from refmesh.telemetry.traces import Trace, Traces
from tests.unit.refmesh_telemetry.proxies import CLIENT, Hop, running_hop

GIVEN = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
OTHER = "a" * 32
B3 = {"x-b3-traceid": GIVEN, "x-b3-spanid": PARENT, "x-b3-sampled": "1"}
TAGS = (Tag("cell", "literal", "a1"), Tag("tenant", "header", "x-tenant", "nobody"))


@contextlib.contextmanager
def receiving(traces: Traces) -> Iterator[int]:
    """The control plane's port for spans, in plaintext; everybody is the client's pod."""
    port, loop = 0, asyncio.new_event_loop()

    async def serve() -> Any:
        nonlocal port
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Receiver(traces, "cluster.local", lambda _: CLIENT).handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server

    server = loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def reported(traces: Traces, name: str, spans: int) -> Trace:
    """A trace once so many of its spans have come: Envoy reports what it has every five seconds."""
    deadline = time.monotonic() + 20
    while True:
        found = traces.get(name)
        if found is not None and len(found.spans) >= spans:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def traces() -> Traces:
    return Traces()


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory, traces: Traces) -> Iterator[Hop]:
    settings = MeshSettings(observation=Observation(sampling=100.0, tags=TAGS), trace_b3=True)
    with receiving(traces) as port, running_hop(tmp_path_factory.mktemp("hop"), settings, port) as running:
        yield running


def arrived(hop: Hop, **headers: str) -> list[str]:
    """The parts of `traceparent` at the application: version, trace, parent, flags; B3 says the same where it is on."""
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    assert hop.ask("/page?token=secret/200", headers=given) == 200
    seen = hop.seen[-1]
    found = seen["traceparent"].split("-")
    if "b3" in seen:
        trace, span, sampled = found[1], found[2], str(int(found[3]))
        assert [seen["x-b3-traceid"], seen["x-b3-spanid"], seen["x-b3-sampled"]] == [trace, span, sampled]
        assert seen["b3"] == f"{trace}-{span}-{sampled}"
        assert "x-b3-parentspanid" not in seen
    return found


def test_a_request_without_context_begins_a_trace_that_is_reported_by_both_proxies(hop: Hop, traces: Traces) -> None:
    _, trace, parent, flags = arrived(hop, x_tenant="gold")
    found = reported(traces, trace, 2)
    client, server = found.spans
    assert (flags, client.parent, server.parent, server.id) == ("01", "", client.id, parent)
    assert (client.kind, server.kind) == ("client", "server")
    assert (server.method, server.path, server.status) == ("GET", "/page", 200)
    assert found.first is client
    assert client.service == "page.shop"
    assert client.pod == "page-1.shop"
    assert not found.failed
    assert client.start <= server.start
    assert server.seconds <= client.seconds < 60  # seconds, not milliseconds
    assert {("cell", "a1"), ("tenant", "gold")} <= set(client.tags)


def test_a_trace_goes_on_with_its_own_decision(hop: Hop) -> None:
    for flags in ("00", "01"):
        found = arrived(hop, traceparent=f"00-{GIVEN}-{PARENT}-{flags}")
        assert found[1::2] == [GIVEN, flags]
        assert found[2] != PARENT


@pytest.mark.parametrize(
    ("headers", "trace", "flags"),
    [
        (B3, GIVEN, "01"),
        ({**B3, "x-b3-sampled": "0"}, GIVEN, "00"),
        ({**B3, "x-b3-traceid": GIVEN[16:]}, "0" * 16 + GIVEN[16:], "01"),
        ({**B3, "traceparent": f"00-{'a' * 32}-{PARENT}-01"}, "a" * 32, "01"),
    ],
)
def test_a_trace_in_b3_headers_goes_on(hop: Hop, headers: Any, trace: str, flags: str) -> None:
    assert arrived(hop, **headers, x_b3_parentspanid=PARENT)[1::2] == [trace, flags]
    assert "b3" in hop.seen[-1]


@pytest.mark.parametrize("passed_on", [("b3",), ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled")])
def test_an_application_that_passes_on_b3_alone_loses_no_trace(
    hop: Hop, traces: Traces, passed_on: tuple[str, ...]
) -> None:
    _, begun, span, _ = arrived(hop)
    _, trace, _, flags = arrived(hop, **{name: hop.seen[-1][name] for name in passed_on})
    assert (trace, flags) == (begun, "01")
    third = reported(traces, trace, 4).spans[2]
    assert (third.kind, third.parent) == ("client", span)


@pytest.mark.parametrize("change", [{"x-b3-traceid": "xx"}, {"x-b3-traceid": "0" * 32}, {"x-b3-spanid": ""}])
def test_b3_headers_that_are_none_do_no_harm(hop: Hop, change: dict[str, str]) -> None:
    found = arrived(hop, **{**B3, **change})
    assert found[1] != GIVEN
    assert set(found[1]) != {"0"}


@pytest.mark.parametrize(
    ("b3", "trace", "flags"),
    [
        (f"{GIVEN}-{PARENT}", GIVEN, "01"),
        (f"{GIVEN}-{PARENT}-1", GIVEN, "01"),
        (f"{GIVEN}-{PARENT}-0", GIVEN, "00"),
        (f"{GIVEN}-{PARENT}-d-{PARENT}", GIVEN, "01"),
        (f"{GIVEN[16:]}-{PARENT}-0-{PARENT}", "0" * 16 + GIVEN[16:], "00"),
        (f"{GIVEN[16:]}-{PARENT}", "0" * 16 + GIVEN[16:], "01"),
    ],
)
def test_a_trace_in_the_single_b3_header_goes_on_before_that_of_several(
    hop: Hop, b3: str, trace: str, flags: str
) -> None:
    assert arrived(hop, b3=b3)[1::2] == [trace, flags]
    several = {"x-b3-traceid": OTHER, "x-b3-spanid": PARENT}
    assert arrived(hop, b3=b3, **several)[1::2] == [trace, flags]


@pytest.mark.parametrize("b3", ["0", "1", "d", "x", "", f"{'0' * 32}-{PARENT}-1", f"{GIVEN}-{PARENT}-2", GIVEN])
def test_a_single_b3_header_without_a_trace_does_no_harm(hop: Hop, b3: str) -> None:
    found = arrived(hop, b3=b3)[1]
    assert found != GIVEN
    assert set(found) != {"0"}
    several = {"x-b3-traceid": OTHER, "x-b3-spanid": PARENT}
    assert arrived(hop, b3=b3, **several)[1] == OTHER


def test_the_application_s_request_id_is_left_alone(hop: Hop) -> None:
    given = "3b1f4c1e-27b5-4b6e-9c9c-6f8a1f0d6a11"
    arrived(hop, x_request_id=given)
    assert hop.seen[-1]["x-request-id"] == given


def test_what_is_not_recorded_is_passed_on_and_not_reported(tmp_path: Path) -> None:
    traces = Traces()
    settings = MeshSettings(observation=Observation(sampling=100.0, silent=True))
    with receiving(traces) as port, running_hop(tmp_path, settings, port) as hop:
        assert arrived(hop, traceparent=f"00-{GIVEN}-{PARENT}-01")[1::2] == [GIVEN, "01"]
    logged = [json.loads(line) for line in (tmp_path / "envoy.log").read_text().splitlines() if line[:1] == "{"]
    assert {line["trace_id"] for line in logged} == {GIVEN}
    assert len(traces) == 0


def test_without_tracing_nothing_is_added(tmp_path: Path) -> None:
    with running_hop(tmp_path, MeshSettings(observation=Observation(sampling=None), trace_b3=True)) as hop:
        assert hop.ask() == 200
        assert "traceparent" not in hop.seen[-1]
        assert hop.ask(headers={"traceparent": "00-x", **B3}) == 200
        assert hop.seen[-1]["traceparent"] == "00-x"
        assert {name: hop.seen[-1][name] for name in B3} == B3
        assert "b3" not in hop.seen[-1]
