from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent.exposition import Translation, Workload
from refmesh.dashboard.page import overview
from refmesh.dashboard.view import Certificate, View, by_namespace
from refmesh.telemetry.traffic import BOUNDS, Cell, Flow, _flow, difference, edges, quantile, read

PAGE, REVIEWS = ("shop", "page"), ("shop", "reviews")
FLOW = Flow(PAGE, REVIEWS, ok=True, secure=True)


def exposition(*tags: dict[str, str], value: int = 3, tcp: bool = False) -> list[str]:
    """What the agent of `page` gives for Envoy's counters: the reader is held against the real writer."""
    lines = []
    for one in tags:
        known = {
            "reporter": "source",
            "target": "reviews.shop.svc.cluster.local",
            "peer": "reviews-v1;shop;reviews;v1",
            "principal": "spiffe://cluster.local/ns/shop/sa/reviews",
            "response_flags": "-",
            **({} if tcp else {"response_code": "200", "grpc_response_status": "-"}),
            **one,
        }
        labels = ",".join(f'{key}="{text}"' for key, text in known.items())
        if "response_code" not in known:
            moments = ("opened", "closed")
            lines += [f"envoy_istio_tcp_connections_{moment}_total{{{labels}}} {value}" for moment in moments]
            continue
        lines.append(f"envoy_istio_requests_total{{{labels}}} {value}")
        for bound in BOUNDS:
            text = "+Inf" if bound == float("inf") else f"{bound:.15g}"
            count = value if bound >= 10 else 0
            lines.append(f'envoy_istio_request_duration_milliseconds_bucket{{{labels},le="{text}"}} {count}')
    return list(Translation(Workload("page-v1", "shop", "page", "v1"), "spiffe://x/ns/shop/sa/page").lines(lines))


def test_a_request_is_read_from_its_clients_proxy() -> None:
    reading = read(exposition({}))
    assert reading.cells == {FLOW: Cell(3, (0.0,) * 3 + (3.0,) * 17)}


def test_the_servers_account_counts_where_the_client_has_no_proxy() -> None:
    meshed = {"reporter": "destination", "peer": "front;shop;front;v1", "target": "page.shop.svc.cluster.local"}
    reading = read(exposition({**meshed, "principal": "spiffe://cluster.local/ns/shop/sa/front"}))
    assert not reading.cells
    reading = read(exposition({**meshed, "peer": "-", "principal": "-"}))
    assert list(reading.cells) == [Flow(("unknown", "unknown"), PAGE, ok=True, secure=False)]


def test_connections_are_edges_without_success_or_latency() -> None:
    reading = read([*exposition({}), *exposition({}, value=6, tcp=True)])
    (edge,) = edges([reading.cells], seconds=3)
    assert (edge.rate, edge.connections, edge.success, edge.secure) == (1, 2, 1, 1)
    failed = [*exposition({"response_code": "503"}), *exposition({"principal": "-"}, tcp=True)]
    (edge,) = edges([read(failed).cells], seconds=3)
    assert (edge.rate, edge.connections, edge.success, edge.secure) == (1, 1, 0, 0.5)
    (edge,) = edges([read(exposition({"principal": "-"}, tcp=True)).cells], seconds=3)
    assert (edge.source, edge.destination, edge.rate, edge.p99, edge.connections) == (PAGE, REVIEWS, 0, 0, 1)


def test_connections_of_a_client_with_a_proxy_are_counted_once() -> None:
    arrived = {"reporter": "destination", "peer": "-", "target": "page.shop.svc.cluster.local"}
    # The server's proxy knows whose certificate it is, but over TCP no workload is named.
    assert not read(exposition(arrived, tcp=True)).cells
    (flow,) = read(exposition({**arrived, "principal": "-"}, tcp=True)).cells
    assert (flow.source, flow.destination, flow.secure, flow.tcp) == (("unknown", "unknown"), PAGE, False, True)
    # When it opens one, the server's proxy may not know yet whose certificate it is going to see.
    opened = [line for line in exposition({**arrived, "principal": "-"}, tcp=True) if "opened" in line]
    assert opened
    assert not read(opened).cells


def test_failures_of_both_protocols_count() -> None:
    codes = [{"response_code": "503"}, {"response_code": "0"}, {"grpc_response_status": "14"}, {"response_code": "404"}]
    (edge,) = edges([read(exposition(*codes)).cells], seconds=3)
    assert edge.rate == 4
    assert edge.success == 0.25


def test_other_lines_are_passed_over_and_their_number_is_bounded() -> None:
    lines = ["# HELP x", "x 1", "refmesh_agent_certificate_not_after_seconds 1790000000"]
    assert read(lines).not_after == 1790000000
    assert not read([*lines, *exposition({})], most=3).cells


def test_a_sample_without_half_of_its_labels_is_of_somebody_unknown() -> None:
    (flow,) = read(['istio_requests_total{reporter="source",destination_canonical_service="b"} 3']).cells
    assert flow.destination == ("unknown", "b")


NOT_AFTER = "refmesh_agent_certificate_not_after_seconds"
COUNT = 'istio_requests_total{reporter="source"}'
BUCKET_OF_ALL = 'istio_request_duration_milliseconds_bucket{reporter="source",le="+Inf"}'


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "-1", "0.5", "5e-324", "x" * 3000, ""])
@pytest.mark.parametrize("name", [NOT_AFTER, COUNT, BUCKET_OF_ALL])
def test_numbers_that_no_page_can_show_are_refused(name: str, value: str) -> None:
    if not value and name != NOT_AFTER:
        assert not read([f"{name} {value}"]).cells
        return
    with pytest.raises(ValueError, match="not a whole number from 0 to") as error:
        read([f"{name} {value}"])
    assert len(str(error.value)) < 200


def test_one_pods_share_of_the_graph_is_bounded() -> None:
    assert len(read(f'istio_requests_total{{source_canonical_service="s{n}"}} 1' for n in range(5000)).cells) == 5000
    with pytest.raises(ValueError, match="more than 5000"):
        read(f'istio_requests_total{{source_canonical_service="s{n}"}} 1' for n in range(5001))
    long = f'istio_requests_total{{source_canonical_service="{"x" * 3000}"}} 1'
    assert [len(flow.source[1]) for flow in read([long]).cells] == [253]
    assert not read([long.replace("x", "xx")]).cells


def test_labels_are_read_in_time_that_grows_with_them() -> None:
    # Read from each of its letters anew, this would take hours.
    _flow("", "a" * 1_000_000)
    _flow("", 'a="' * 300_000)


NAMES = st.sampled_from(
    [
        "istio_requests_total",
        "istio_tcp_connections_opened_total",
        "istio_request_duration_milliseconds_bucket",
        NOT_AFTER,
    ]
)
KEYS = st.sampled_from(
    [
        *(f"{end}_{what}" for end in ("source", "destination") for what in ("canonical_service", "workload_namespace")),
        "destination_service", "destination_service_name", "reporter", "response_code", "source_principal", "le",
    ]
)  # fmt: skip
VALUES = st.sampled_from(["source", "destination", "unknown", "503", "+Inf", "10", ""]) | st.text(max_size=8)
NUMBERS = st.sampled_from(["1", "9e15", "nan", "-inf", "1e999", "1_0"]) | st.floats().map(str) | st.integers().map(str)
LABELS = st.dictionaries(KEYS, VALUES).map(lambda tags: ",".join(f'{key}="{value}"' for key, value in tags.items()))
SAMPLES = st.builds("{}{{{}}} {}".format, NAMES, LABELS, NUMBERS) | st.builds("{} {}".format, NAMES, NUMBERS)


@given(st.lists(SAMPLES | st.text(max_size=40) | st.builds("{}{}".format, NAMES, st.text(max_size=20)), max_size=8))
def test_whatever_answers_is_refused_or_can_be_shown(lines: list[str]) -> None:
    try:
        reading = read(lines)
    except ValueError:
        return
    for cell in reading.cells.values():
        assert all(0 <= number < 1e18 for number in (cell.requests, *cell.buckets))
    found = edges([reading.cells, difference({}, reading.cells)], 60)
    for edge in found:
        assert 0 < edge.weight < 1e18
        assert 0 <= edge.secure <= 1
        assert 0 <= edge.success <= 1
        assert 0 <= edge.p50 < 1e9
        assert 0 <= edge.p99 < 1e9
    view = View(now=0, edges=found, certificates=(Certificate("page.shop", reading.not_after),))
    assert "Certificate of" in overview(view)
    by_namespace(found)


def test_a_restarted_pod_counts_from_zero() -> None:
    before, after = {FLOW: Cell(10)}, {FLOW: Cell(4)}
    assert difference(before, after)[FLOW].requests == 4
    assert difference(before, {FLOW: Cell(12)})[FLOW].requests == 2
    assert difference(before, before) == {}


@given(st.lists(st.integers(0, 50), min_size=20, max_size=20), st.floats(0.01, 1))
def test_a_quantile_lies_within_the_bucket_that_has_it(counts: list[int], share: float) -> None:
    total, cumulative = 0, []
    for count in counts:
        total += count
        cumulative.append(float(total))
    found = quantile(share, tuple(cumulative))
    if not total:
        assert found == 0
        return
    place = next(at for at, count in enumerate(cumulative) if count >= share * total)
    lower = BOUNDS[place - 1] if place else 0.0
    assert lower <= found <= (BOUNDS[place] if place < 19 else lower)
