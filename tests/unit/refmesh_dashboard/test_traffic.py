from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent.exposition import Translation, Workload
from refmesh.telemetry.traffic import BOUNDS, Cell, Flow, difference, edges, quantile, read

PAGE, REVIEWS = ("shop", "page"), ("shop", "reviews")
FLOW = Flow(PAGE, REVIEWS, ok=True, secure=True)


def exposition(*tags: dict[str, str], value: int = 3) -> list[str]:
    """What the agent of `page` gives for Envoy's counters: the reader is held against the real writer."""
    lines = []
    for one in tags:
        known = {
            "reporter": "source",
            "target": "reviews.shop.svc.cluster.local",
            "peer": "reviews-v1;shop;reviews;v1",
            "principal": "spiffe://cluster.local/ns/shop/sa/reviews",
            "response_flags": "-",
            "response_code": "200",
            "grpc_response_status": "-",
            **one,
        }
        labels = ",".join(f'{key}="{text}"' for key, text in known.items())
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


def test_failures_of_both_protocols_count() -> None:
    codes = [{"response_code": "503"}, {"response_code": "0"}, {"grpc_response_status": "14"}, {"response_code": "404"}]
    (edge,) = edges([read(exposition(*codes)).cells], seconds=3)
    assert edge.rate == 4
    assert edge.success == 0.25


def test_other_lines_are_passed_over_and_their_number_is_bounded() -> None:
    lines = ["# HELP x", "x 1", "refmesh_agent_certificate_not_after_seconds 1790000000"]
    assert read(lines).not_after == 1790000000
    assert not read([*lines, *exposition({})], most=3).cells


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
