"""The access log on a page: what is missing and why, whatever is in it as text and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from refmesh.dashboard.entries import Found, fill, wanted
from refmesh.dashboard.logging import Logging, Rule, logging_of
from refmesh.dashboard.page import log, service
from refmesh.dashboard.view import Proxy
from refmesh.discovery.observation import Observation
from refmesh.discovery.settings import MeshSettings
from refmesh.telemetry.entries import Entry
from tests.unit.refmesh_dashboard.browser import shown
from tests.unit.refmesh_dashboard.meshes import shop
from tests.unit.refmesh_dashboard.test_traces import TRACE, page_of_the_shop
from tests.unit.refmesh_discovery.helpers import MemoryCluster, pod, policy

NODE = ("shop", "echo")
TWO = Logging(("echo-v1", "echo-v2"))
ENTRY = Entry("2026-11-27T19:18:13.335Z", "inbound", "GET", "/reviews/0", 200, "", 12, "cart.shop", True, TRACE)


def test_pods_are_those_of_the_app_or_of_the_service() -> None:
    cluster = MemoryCluster().with_echo()
    for name in ("echo", ""):
        found = logging_of(cluster.snapshot(), MeshSettings(), "shop", name)
        assert (found.pods, found.rules) == (("echo-v1", "echo-v2"), ())
    assert logging_of(cluster.snapshot(), MeshSettings(), "shop", "other").pods == ()
    assert logging_of(cluster.snapshot(), MeshSettings(), "other", "").pods == ()


def test_a_services_proxies_are_its_own_and_not_those_of_another_that_begins_so() -> None:
    cluster = MemoryCluster()
    cluster.put("Pod", *(pod(f"{name}-7c-x", app=app) for name, app in (("api", "api"), ("api-gateway", "gateway"))))
    cluster.put("Pod", pod("backend-9d-x", app="api"))  # a Deployment that is not called as its app
    found = logging_of(cluster.snapshot(), MeshSettings(), "shop", "api")
    proxies = tuple(Proxy(f"{name}-x.shop", in_step=True) for name in ("api-7c", "api-gateway-7c"))
    text = service(replace(shop(), proxies=proxies), ("shop", "api"), (), found)
    assert "api-gateway" not in text
    assert '<td>api-7c-x.shop</td><td><span class="good">in sync</span>' in text
    assert '<td>backend-9d-x.shop</td><td><span class="dim">not connected to this replica' in text


def test_a_services_logs_are_read_of_some_pods_and_its_proxies_are_all_shown() -> None:
    many = Logging(tuple(f"echo-{number:02}" for number in range(30)))
    for page, read in ((service(shop(), NODE, (), many), 10), (log(shop(), "shop", (), many), 24)):
        room = wanted(page)
        assert room is not None
        assert room.pods == many.pods[:read]
        assert f"Shown are {read} of 30 pods." in page
    assert "echo-29.shop" in service(shop(), NODE, (), many)


def test_who_keeps_entries_from_the_log_is_named() -> None:
    cluster = MemoryCluster().with_echo()
    off = {"accessLogging": [{"match": {"mode": "CLIENT"}, "disabled": True}]}
    some = {"accessLogging": [{"match": {"mode": "SERVER"}, "filter": {"expression": "response.code >= 400"}}]}
    cluster.put(
        "Telemetry", policy("quiet", off), policy("some", some | {"selector": {"matchLabels": {"version": "v1"}}})
    )
    found = logging_of(cluster.snapshot(), MeshSettings(), *NODE)
    assert found.rules == (
        Rule("calls made", "shop/quiet", pods=2),
        Rule("calls received", "shop/some", "response.code >= 400", pods=1),
    )
    text = service(shop(), NODE, (), found)
    assert "kubectl edit telemetries.telemetry.istio.io -n shop quiet" in text
    assert "shop/some only where <code>response.code &gt;= 400</code> holds: calls received, at 1 of 2 pods." in text


def test_what_was_chosen_at_install_is_said() -> None:
    cluster = MemoryCluster().with_echo()
    base = MeshSettings()
    for settings, sentence in (
        (base.observing(Observation(access_log=False)), "refmesh install --set access_log=on"),
        (replace(base, text_log=True), "access_log_encoding=JSON"),
        (replace(base, log_format="%DURATION%", text_log=True), "a format of its own"),
    ):
        text = log(shop(), "shop", (), logging_of(cluster.snapshot(), settings, "shop"))
        assert sentence in text
    assert "Not logged" not in log(shop(), "shop", (), logging_of(cluster.snapshot(), base, "shop"))


def test_a_page_has_a_place_that_is_filled_with_entries() -> None:
    page = service(shop(), ("shop", "reviews"), [page_of_the_shop()], TWO)
    room = wanted(page)
    assert room is not None
    assert room.pods == ("echo-v1", "echo-v2")
    assert room.traces == {TRACE}
    assert "reads them with your own rights" in page
    full = fill(page, Found([("echo-v1", ENTRY), ("echo-v1", replace(ENTRY, trace="a" * 32))]), room.traces, "../../")
    assert full.count("GET /reviews/0") == 2
    assert full.count(f'href="../../trace/{TRACE}">19:18:13.335</a>') == 1  # the other has no page
    assert "a" * 32 not in full
    assert "your own rights" not in full
    assert wanted(full) is None
    assert wanted(service(shop(), NODE)) is None  # nobody's


def test_entries_that_are_left_out_are_counted() -> None:
    page = log(shop(), "shop", (), TWO)
    full = fill(page, Found([("echo-v1", ENTRY)] * 200), (), "../")
    assert "The newest" not in full
    full = fill(page, Found([("echo-v1", ENTRY)] * 251), (), "../")
    assert full.count("GET /reviews/0") == 200
    assert "The newest 200 of 251 entries." in full


def test_lines_in_a_log_are_text_and_nothing_else() -> None:
    evil = '<script>alert("1")</script><!--entries x y-->z<!--/entries-->\\1'
    entry = Entry(evil, evil, evil, evil, 0, evil, None, evil, False, evil)
    page = log(shop(), evil, (), Logging((evil, "echo-v1"), (Rule(evil, evil, evil), Rule(evil, f"{evil}/x"))))
    room = wanted(page)
    assert room is not None
    assert room.pods == ("echo-v1",)
    full = fill(page, Found([(evil, entry)], 3, [evil]), room.traces, "../")
    for text in (page, full):
        assert "<script>alert" not in text
    assert wanted(full) is None
    assert "3 lines have another format" in full


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1400, 390])
def test_a_browser_shows_entries_without_scrolling_sideways(tmp_path: Path, width: int) -> None:
    page = log(shop(), "shop", (), TWO)
    long = replace(ENTRY, path="/" + "x" * 200, peer="p" * 120, code=503, flags="UH,URX")
    text = fill(page, Found([("echo-v1", ENTRY), ("echo-v1", long)] * 20), {TRACE}, "../")
    script = (
        "[d.documentElement.scrollWidth,d.querySelectorAll('#log tbody tr').length,d.querySelectorAll('#log a').length]"
    )
    inner, rows, links = shown(tmp_path, text, width, script)
    assert inner <= width
    assert rows == 40
    assert links == 40
