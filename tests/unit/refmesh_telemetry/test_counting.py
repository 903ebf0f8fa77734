"""The real Envoy counts what goes through the generated filters, and the agent gives it Istio's labels."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation

from refmesh.discovery import counting, guards
from refmesh.discovery.counting import PEER_HEADER
from refmesh.telemetry.traffic import edges, read
from tests.unit.refmesh_telemetry.proxies import CLIENT, HOST, SERVER, Hop, running_hop, samples, scrape

FORGED = {PEER_HEADER: "admin;kube-system;admin;v9"}


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hop]:
    with running_hop(tmp_path_factory.mktemp("hop")) as running:
        for _ in range(3):
            assert running.ask(headers=FORGED) == 200
        assert running.ask("/503") == 503
        assert running.ask(port=running.plain, headers=FORGED) == 200
        assert running.ask(port=running.raw) == 200
        yield running


def settled(hop: Hop, name: str, *, server: bool, expected: int) -> str:
    """A scrape in which a metric has as many samples as expected: Envoy logs a request just after its answer."""
    deadline = time.monotonic() + 15
    while True:
        text = scrape(hop.scraper(server=server))
        if len(samples(text, name)) >= expected or time.monotonic() > deadline:
            return text
        time.sleep(0.05)


def test_the_clients_proxy_counts_each_request_once_with_both_ends(hop: Hop) -> None:
    found = samples(settled(hop, "istio_requests_total", server=False, expected=4), "istio_requests_total")
    by_code = {s.labels["response_code"]: s for s in found if s.labels["reporter"] == "source"}
    assert {code: sample.value for code, sample in by_code.items()} == {"200": 3.0, "503": 1.0}
    assert by_code["200"].labels == {
        "reporter": "source",
        "source_workload": "page",
        "source_workload_namespace": "shop",
        "source_principal": CLIENT,
        "source_app": "page",
        "source_version": "v1",
        "source_canonical_service": "page",
        "source_canonical_revision": "v1",
        "source_cluster": "Kubernetes",
        "destination_workload": "reviews-v2",
        "destination_workload_namespace": "shop",
        "destination_principal": SERVER,
        "destination_app": "reviews",
        "destination_version": "v2",
        "destination_canonical_service": "reviews",
        "destination_canonical_revision": "v2",
        "destination_cluster": "Kubernetes",
        "destination_service": HOST,
        "destination_service_name": "reviews",
        "destination_service_namespace": "shop",
        "request_protocol": "http",
        "response_code": "200",
        "grpc_response_status": "",
        "response_flags": "-",
        "connection_security_policy": "unknown",
    }


def test_the_servers_proxy_believes_the_peers_proxy_and_not_the_application(hop: Hop) -> None:
    found = samples(settled(hop, "istio_requests_total", server=True, expected=4), "istio_requests_total")
    secured = [s for s in found if s.labels["connection_security_policy"] == "mutual_tls"]
    assert {s.labels["response_code"]: s.value for s in secured} == {"200": 3.0, "503": 1.0}
    for sample in secured:
        assert sample.labels["source_workload"] == "page"
        assert sample.labels["source_principal"] == CLIENT
        assert sample.labels["destination_workload"] == "reviews-v2"
        assert sample.labels["destination_principal"] == SERVER


def test_without_a_certificate_nobodys_word_counts(hop: Hop) -> None:
    found = samples(settled(hop, "istio_requests_total", server=True, expected=4), "istio_requests_total")
    (plain,) = [s.labels for s in found if s.labels["connection_security_policy"] == "none" and s.value == 2]
    assert plain["source_workload"] == plain["source_principal"] == plain["source_workload_namespace"] == "unknown"


def test_the_application_does_not_see_the_header(hop: Hop) -> None:
    assert len(hop.seen) == 6
    assert all(PEER_HEADER not in headers for headers in hop.seen)


def test_durations_and_sizes_are_histograms_of_as_many_requests(hop: Hop) -> None:
    # Envoy adds to its histograms every five seconds.
    text = settled(hop, "istio_request_duration_milliseconds_count", server=False, expected=4)
    for name in ("istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"):
        counts = [s for s in samples(text, f"{name}_count") if s.labels["reporter"] == "source"]
        assert sum(s.value for s in counts) == 4, name
        infinite = [s for s in samples(text, f"{name}_bucket") if s.labels["le"] == "+Inf"]
        assert sum(s.value for s in infinite if s.labels["reporter"] == "source") == 4, name


def test_connections_are_counted_when_they_begin_and_when_they_end(hop: Hop) -> None:
    text = settled(hop, "istio_tcp_sent_bytes_total", server=False, expected=1)
    values = {}
    for name in ("connections_opened", "connections_closed", "sent_bytes", "received_bytes"):
        (sample,) = samples(text, f"istio_tcp_{name}_total")
        assert sample.labels["request_protocol"] == "tcp"
        assert sample.labels["destination_workload"] == "reviews-v2"
        values[name] = sample.value
    assert values["connections_opened"] == values["connections_closed"] == 1
    assert values["sent_bytes"] > 100
    assert values["received_bytes"] > 50


def test_the_graph_is_drawn_of_requests_and_connections(hop: Hop) -> None:
    settled(hop, "istio_tcp_connections_opened_total", server=False, expected=1)
    # One Envoy plays both sidecars: in each of their pages is what the other counts.
    reading = read(scrape(hop.scraper(server=False), "graph").splitlines())
    (edge,) = (edge for edge in edges([reading.cells], 1) if edge.source == ("shop", "page"))
    assert (edge.destination, edge.rate, edge.connections, edge.success) == (("shop", "reviews"), 4, 1, 0.75)
    assert edge.secure == 4 / 5  # the connection had no certificate


def test_a_client_that_is_refused_makes_no_statistics_of_what_it_calls_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a filter without rules of its route lets nothing through
    monkeypatch.setattr(guards, "route_rules", lambda *_: {})
    # a client's proxy that says what its application wants
    lying = counting.announce_peer()
    config = HeaderMutation.FromString(lying.typed_config.value)
    config.mutations.request_mutations[0].append.header.value = "%REQ(x-wanted)%"
    lying.typed_config.value = config.SerializeToString()
    monkeypatch.setattr(counting, "announce_peer", lambda: lying)
    with running_hop(tmp_path) as hop:
        for version in range(3):
            assert hop.ask(headers={"x-wanted": f"any;shop;any;v{version}"}) == 403
        found = samples(settled(hop, "istio_requests_total", server=True, expected=2), "istio_requests_total")
        (refused,) = [s for s in found if s.labels["connection_security_policy"] == "mutual_tls"]
        assert refused.value == 3
        assert refused.labels["source_principal"] == CLIENT
        assert refused.labels["source_workload_namespace"] == "shop"
        assert refused.labels["source_workload"] == "unknown"
        with urllib.request.urlopen(f"http://127.0.0.1:{hop.admin}/stats?filter=requests_total", timeout=5) as page:
            assert b"any;shop" not in page.read()


def test_a_second_counter_of_the_same_requests_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "request_counts", lambda: ("requests_total", "requests_total"))
    with running_hop(tmp_path) as hop:
        assert hop.ask() == 200
        text = settled(hop, "istio_requests_total", server=False, expected=2)
        assert {s.value for s in samples(text, "istio_requests_total")} == {2.0}
