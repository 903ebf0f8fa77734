from __future__ import annotations

import shutil
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.dashboard.layout import HEIGHT, WIDTH, place
from refmesh.dashboard.page import overview, service
from refmesh.dashboard.view import Refused, View, by_namespace
from refmesh.telemetry.traffic import Edge
from tests.unit.refmesh_dashboard.browser import shown
from tests.unit.refmesh_dashboard.meshes import large, shop

NODES = st.tuples(st.just("n"), st.sampled_from([f"s{number}" for number in range(12)]))


@given(st.lists(st.tuples(NODES, NODES), max_size=60))
def test_every_node_has_a_place_of_its_own(pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> None:
    layout = place(pairs)
    assert set(layout.at) == {node for pair in pairs for node in pair}
    corners = sorted(layout.at.values())
    for (x1, y1), (x2, y2) in pairwise(corners):
        assert x2 - x1 >= WIDTH or abs(y2 - y1) >= HEIGHT
    assert all(x + WIDTH <= layout.width and y + HEIGHT <= layout.height for x, y in corners)


def test_callers_stand_left_of_what_they_call_even_in_a_long_chain() -> None:
    chain = [("n", f"s{number:04}") for number in range(3000)]
    layout = place(pairwise(chain))
    assert all(layout.at[one][0] < layout.at[two][0] for one, two in pairwise(chain))


def test_the_graph_says_everything_in_words_too() -> None:
    text = overview(shop())
    assert "reviews.shop → ratings.shop: 8.3/s, 91.0 % succeed, p50 4.2 ms, p99 38 ms, mutual TLS" in text
    assert "ratings.shop → mongodb.shop: 1.2/min TCP connections, plaintext" in text
    drawing = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    assert len(drawing.findall(".//g[@class='label']")) == 5
    assert len(drawing.findall(".//path[@class='lock']")) == 3


def test_of_connections_nobody_says_how_many_succeed() -> None:
    (edge,) = (edge for edge in shop().edges if edge.connections)
    secure, both = replace(edge, secure=1.0), replace(edge, rate=2.0, success=0.5, p50=1, p99=9)
    text = overview(View(now=0, edges=(secure,)))
    assert text.count('<path class="edge dim secure"') == text.count('<path class="lock"') == 1
    assert "1.2/min TCP</text>" in text
    assert text.count('<td class="num">–</td>') == 4
    assert "succeed," not in text
    assert '<b class="good">–</b>succeed' in text
    assert '<b class="good">100 %</b>under mutual TLS' in text
    said = "2.0/s, 50.0 % succeed, p50 1.0 ms, p99 9.0 ms, 1.2/min TCP connections, plaintext"
    assert said in overview(View(now=0, edges=(both,)))


def test_namespaces_have_the_traffic_of_all_their_services() -> None:
    one = Edge(("a", "x"), ("b", "y"), 3.0, 1.0, 5.0, 50.0, 1.0)
    other = Edge(("a", "z"), ("b", "db"), 0.0, 1.0, 0.0, 0.0, 0.0, connections=1.0)
    (found,) = by_namespace([one, other])
    assert (found.rate, found.connections, found.success, found.secure) == (3.0, 1.0, 1.0, 0.75)
    (found,) = by_namespace([other, other])
    assert (found.rate, found.connections, found.success, found.secure) == (0.0, 2.0, 1.0, 0.0)


def test_configuration_and_certificates_are_shown() -> None:
    text = overview(shop())
    assert "spec.http[0].route[0].weight: must be 0 or more, not -1" in text
    assert text.index("20 min") < text.index("300 days")


def test_a_page_says_whose_proxies_it_does_not_show() -> None:
    assert "not connected" not in overview(shop())
    two = overview(replace(shop(), replica="refmesh-a", others=("refmesh-b",), elsewhere=3))
    assert "proxies of this replica in sync" in two
    assert (
        "3 more proxies are not connected to this replica of the control plane, refmesh-a, but to others (refmesh-b) "
        "or to none: <code>refmesh proxy-status</code> asks every replica."
    ) in two
    one = overview(replace(shop(), elsewhere=1))
    assert "1 more proxy is not connected to the control plane." in one
    assert "of this replica" not in one


def test_names_from_the_cluster_are_text_and_nothing_else() -> None:
    evil = '<script>alert("1")</script>'
    edge = Edge((evil, evil), ("shop", evil), 1, 1, 1, 1, 1)
    view = View(
        now=0,
        edges=(edge,),
        refused=(Refused(evil, evil, evil, evil),),
        unreachable=((evil, evil),),
        replica=evil,
        others=(evil,),
        elsewhere=2,
    )
    for text in (overview(view), overview(view, evil), service(view, (evil, evil))):
        assert evil not in text


def test_a_service_page_has_calls_in_both_directions() -> None:
    text = service(shop(), ("shop", "reviews"))
    assert "Calls to it" in text
    assert "../../service/shop/ratings" in text
    assert "details" not in text


def test_an_empty_mesh_has_a_page() -> None:
    assert "No request and no connection in the last minute" in overview(View(now=0))


def test_five_hundred_services_are_quick() -> None:
    view = large(500)
    started = time.process_time()
    whole, team = overview(view), overview(view, "team-3")
    # Measured: 0.05 s for both.
    assert time.process_time() - started < 1.0
    assert "500 services: shown by namespace" in whole
    assert len(whole) < 600_000
    assert len(team) < 600_000


def test_a_namespace_with_all_five_hundred_is_still_bounded() -> None:
    edges = tuple(replace(edge, source=("one", edge.source[1])) for edge in large(500).edges)
    assert len(overview(replace(large(500), edges=edges), "one")) < 900_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize(("width", "view"), [(1400, large(500)), (390, shop())])
def test_a_browser_shows_it_without_scrolling_sideways(tmp_path: Path, width: int, view: View) -> None:
    drawing = "Math.round(d.querySelector('svg.graph').getBoundingClientRect().width)"
    script = f"[d.documentElement.scrollWidth,d.querySelectorAll('svg .node').length,{drawing}]"
    inner, nodes, drawn = shown(tmp_path, overview(view), width, script)
    assert inner <= width
    assert nodes >= 6
    assert drawn > 300
