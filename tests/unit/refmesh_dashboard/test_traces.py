"""A trace as a page: every span has a line under its parent, and nothing a proxy says is more than text."""

from __future__ import annotations

import random
import time
import xml.etree.ElementTree as ET
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from refmesh.dashboard.page import overview, service
from refmesh.dashboard.traces import trace_page
from refmesh.dashboard.waterfall import lines, waterfall
from refmesh.telemetry.spans import Span
from refmesh.telemetry.traces import Trace, Traces
from tests.unit.refmesh_dashboard.meshes import NOW, shop

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(
    name: str, parent: str, who: str, kind: str, target: str, start: float, seconds: float, status: int = 200
) -> Span:
    return Span(
        TRACE, name, parent, f"{who}.shop", "v1", f"{who}-v1-6f.shop", kind, "GET", f"http://x/{target}/0?token=t",
        status, status >= 500, NOW + start, seconds, f"outbound|9080||{target}.shop.svc.cluster.local",
        "UF" if status >= 500 else "", (("user_agent", "curl"),),
    )  # fmt: skip


def page_of_the_shop() -> Trace:
    """One page: productpage asks details and reviews, reviews asks ratings, which is late and fails."""
    return Trace(
        TRACE,
        (
            span("a", "", "productpage", "server", "productpage", 0.0, 2.31),
            span("b", "a", "productpage", "client", "details", 0.004, 0.011),
            span("c", "b", "details", "server", "details", 0.006, 0.007),
            span("d", "a", "productpage", "client", "reviews", 0.005, 2.3),
            span("e", "d", "reviews", "server", "reviews", 0.008, 2.29),
            span("f", "e", "reviews", "client", "ratings", 0.012, 2.27, 503),
            span("g", "f", "ratings", "server", "ratings", 2.2, 0.08, 503),
        ),
    )


def test_every_span_stands_under_its_parent() -> None:
    found = [(depth, one.id) for depth, one in lines(page_of_the_shop())]
    assert found == [(0, "a"), (1, "b"), (2, "c"), (1, "d"), (2, "e"), (3, "f"), (4, "g")]


IDS = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=12))
def test_whatever_parents_are_named_every_span_comes_once(pairs: list[tuple[str, str]]) -> None:
    spans = tuple(replace(SPAN, id=name, parent=parent, pod=str(number)) for number, (name, parent) in enumerate(pairs))
    assert sorted(one.pod for _, one in lines(Trace(TRACE, spans))) == sorted(one.pod for one in spans)


SPAN = page_of_the_shop().spans[0]


def test_the_drawing_is_sound_and_says_everything_in_words_too() -> None:
    text = waterfall(page_of_the_shop())
    drawing = ET.fromstring(text)
    assert len(drawing.findall(".//rect")) == 7
    assert "reviews.shop calls ratings.shop: GET /ratings/0, 503, UF, 2.3 s" in text
    assert "token" not in text
    edges = [float(bar.get("x") or 0) + float(bar.get("width") or 0) for bar in drawing.findall(".//rect")]
    assert max(edges) <= float(drawing.get("width") or 0)


def test_pages_have_the_latest_traces_and_one_of_them() -> None:
    traces = [page_of_the_shop()]
    for text, link in ((overview(shop(), traces=traces), f'"trace/{TRACE}"'),
                       (service(shop(), ("shop", "reviews"), traces), f'"../../trace/{TRACE}"')):  # fmt: skip
        assert link in text
        assert "productpage.shop GET /productpage/0" in text
        assert "200, a call failed" in text
    whole = trace_page(traces[0], TRACE, NOW)
    assert "user_agent=curl" in whole
    assert "newer ones may have needed the room" in trace_page(None, TRACE, NOW)
    assert "None has been reported" in overview(shop())


def test_what_proxies_say_is_text_and_nothing_else() -> None:
    evil = '<script>alert("1")</script>'
    bad = Span(evil, evil, evil, evil, evil, evil, evil, evil, f"x://{evil}/{evil}", 0, True, 1e30, 1e30, evil, evil,
               ((evil, evil),))  # fmt: skip
    trace = Trace(evil, (bad, replace(bad, id="x", start=-1e30)))
    for text in (trace_page(trace, evil, 0), overview(shop(), traces=[trace]), trace_page(None, evil, 0)):
        assert evil not in text


def test_a_full_ring_and_a_trace_of_five_hundred_spans_are_quick() -> None:
    dice, traces = random.Random(1), Traces()
    for number in range(20_000):
        one = replace(SPAN, trace=f"{number // 20:032x}", id=f"{number:016x}", service=f"s{number % 500}.team")
        traces.add([one])
    big = tuple(
        replace(SPAN, id=str(number), parent=str(dice.randrange(number)) if number else "", start=NOW + number / 100)
        for number in range(500)
    )
    started = time.process_time()
    text = overview(shop(), traces=traces.recent(40, "s1.team")) + trace_page(Trace(TRACE, big), TRACE, NOW)
    # Measured: 0.05 s.
    assert time.process_time() - started < 1.0
    assert len(text) < 600_000
