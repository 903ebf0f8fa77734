from __future__ import annotations

import asyncio
import threading
from types import MappingProxyType

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from refmesh.config.model import Pod
from refmesh.dashboard.server import application
from refmesh.telemetry import collector as collector_module
from refmesh.telemetry import pages
from refmesh.telemetry.collector import Collector
from refmesh.telemetry.traces import Traces
from refmesh.telemetry.traffic import Reading, read
from tests.unit.refmesh_dashboard.meshes import shop
from tests.unit.refmesh_dashboard.test_traffic import exposition


async def test_pages_are_served_and_run_nothing_from_elsewhere() -> None:
    async with TestClient(TestServer(application(shop, Traces()))) as client:
        for path in ("/", "/?namespace=shop", "/service/shop/reviews"):
            async with client.get(path) as reply:
                assert reply.status == 200
                assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
                assert "<svg" in await reply.text()


async def test_another_name_for_loopback_is_refused() -> None:
    async with TestClient(TestServer(application(shop, Traces()))) as client:
        for host, status in (("evil.example:80", 403), ("evil.example", 403), ("localhost:8080", 200)):
            async with client.get("/", headers={"Host": host}) as reply:
                assert reply.status == status, host


async def test_what_the_control_plane_knows_is_told_on_loopback_only() -> None:
    shown = pages.debug({"proxies": lambda: ["cart.shop"]})
    loopback = application(shop, Traces())
    loopback.add_routes(shown)
    async with TestClient(TestServer(loopback)) as inside, TestClient(TestServer(pages.application(bool))) as outside:
        async with inside.get("/debug/proxies") as reply:
            assert await reply.json() == ["cart.shop"]
        async with inside.get("/debug/keys") as reply:
            assert (reply.status, await reply.text()) == (404, "there is: proxies\n")
        for path, status in (("/live", 200), ("/ready", 503), ("/metrics", 200), ("/debug/proxies", 404), ("/", 404)):
            async with outside.get(path) as reply:
                assert reply.status == status, path


def a_pod(name: str, address: str = "127.0.0.1", namespace: str = "shop", *, meshed: bool = True) -> Pod:
    return Pod(namespace, name, address, MappingProxyType({}), "default", (), meshed)


async def test_the_collector_shows_differences_and_names_who_does_not_answer() -> None:
    counts = iter([10, 40])

    async def metrics(request: web.Request) -> web.Response:
        assert request.query_string == "graph"
        return web.Response(text="\n".join(exposition({}, value=next(counts))))

    app = web.Application()
    app.router.add_get("/stats/prometheus", metrics)
    async with TestServer(app, host="127.0.0.1") as server:
        pods = [a_pod("page"), a_pod("dead", "127.0.0.2"), a_pod("other", meshed=False)]
        collector = Collector(lambda: pods, port=server.port or 0)
        await collector.round(first=True)
        assert collector.edges() == ()
        await collector.round()
        (edge,) = collector.edges()
        assert edge.rate == 30 / 60
        assert list(collector.unreachable) == [("shop", "dead")]
        pods.clear()
        await collector.round()
        assert not collector.unreachable


async def test_a_pod_that_was_not_heard_at_first_brings_its_past_to_no_edge() -> None:
    """But one that is new since is counted from its beginning."""
    counts = iter([None, 1_000_000, 1_000_030])

    async def metrics(request: web.Request) -> web.Response:
        count = 6 if request.host.startswith("127.0.0.2:") else next(counts)
        return web.Response(status=500) if count is None else web.Response(text="\n".join(exposition({}, value=count)))

    app = web.Application()
    app.router.add_get("/stats/prometheus", metrics)
    async with TestServer(app, host="0.0.0.0") as server:
        pods = [a_pod("page")]
        collector = Collector(lambda: pods, port=server.port or 0)
        await collector.round(first=True)
        assert list(collector.unreachable) == [("shop", "page")]
        await collector.round()
        assert collector.edges() == ()
        pods.append(a_pod("new", "127.0.0.2"))
        await collector.round()
        (edge,) = collector.edges()
        assert edge.rate == (30 + 6) / 60


async def test_a_pod_speaks_of_its_own_namespaces_traffic_alone() -> None:
    def sample(source: str, destination: str) -> str:
        workload, service = f'source_workload_namespace="{source}"', f'destination_service_namespace="{destination}"'
        named = 'source_canonical_service="a",destination_service="b.x.svc",destination_service_name="b"'
        return f'istio_requests_total{{reporter="source",{workload},{service},{named}}} 3'

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="\n".join(sample(*pair) for pair in ("ss", "st", "ts", "tt")))

    app = web.Application()
    app.router.add_get("/stats/prometheus", metrics)
    async with TestServer(app, host="127.0.0.1") as server:
        collector = Collector(lambda: [a_pod("liar", namespace="t")], port=server.port or 0)
        await collector.round()
        assert {(edge.source[0], edge.destination[0]) for edge in collector.edges()} == {
            ("s", "t"),
            ("t", "s"),
            ("t", "t"),
        }


async def test_pages_are_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def noted(lines: list[str]) -> Reading:
        threads.append(threading.get_ident())
        return read(lines)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="")

    monkeypatch.setattr(collector_module, "read", noted)
    app = web.Application()
    app.router.add_get("/stats/prometheus", metrics)
    async with TestServer(app, host="127.0.0.1") as server:
        await Collector(lambda: [a_pod("page")], port=server.port or 0).round()
    assert threads
    assert threading.get_ident() not in threads


async def test_a_page_that_is_no_good_is_told_and_ends_nothing() -> None:
    pages = iter(["refmesh_agent_certificate_not_after_seconds abc", "\n".join(exposition({}, value=1))])

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=next(pages))

    app = web.Application()
    app.router.add_get("/stats/prometheus", metrics)
    async with TestServer(app, host="127.0.0.1") as server:
        collector = Collector(lambda: [a_pod("page")], port=server.port or 0)
        await collector.round()
        assert "abc" in collector.unreachable["shop", "page"]
        await collector.round()
        assert not collector.unreachable
        assert collector.edges()


async def test_a_pod_cannot_send_the_control_plane_elsewhere() -> None:
    asked = []

    async def onward(_: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async def elsewhere(_: web.Request) -> web.Response:
        asked.append("elsewhere")
        return web.Response()

    app = web.Application()
    app.router.add_get("/stats/prometheus", onward)
    app.router.add_get("/elsewhere", elsewhere)
    async with TestServer(app, host="127.0.0.1") as server:
        collector = Collector(lambda: [a_pod("page")], port=server.port or 0)
        await collector.round()
        assert collector.unreachable == {("shop", "page"): "the answer was 302"}
        assert not asked


async def test_a_page_that_nobody_thought_of_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(lines: list[str]) -> Reading:
        if lines == ["odd"]:
            raise KeyError("nobody thought of it")
        return read(lines)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(text="odd" if request.host.startswith("127.0.0.2:") else "\n".join(exposition({})))

    monkeypatch.setattr(collector_module, "read", odd)
    app = web.Application()
    app.router.add_get("/stats/prometheus", metrics)
    async with TestServer(app, host="0.0.0.0") as server:
        collector = Collector(lambda: [a_pod("odd", "127.0.0.2"), a_pod("page")], port=server.port or 0)
        await collector.round()
        assert collector.unreachable == {("shop", "odd"): "KeyError"}
        assert collector.edges()


async def test_a_round_that_fails_is_told_and_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    again = asyncio.Event()

    def pods() -> list[Pod]:
        if "tried again" not in caplog.text:
            raise RuntimeError("nobody thought of it")
        again.set()
        return []

    collector = Collector(pods, seconds=0.01)
    collector.start()
    collector.edges()
    async with asyncio.timeout(20):
        await again.wait()
    collector.close()
    assert "nobody thought of it" in caplog.text


async def test_the_collector_sleeps_until_somebody_asks() -> None:
    asked = asyncio.Event()

    def pods() -> list[Pod]:
        asked.set()
        return []

    collector = Collector(pods)
    collector.start()
    await asyncio.sleep(0)
    assert not asked.is_set()
    collector.edges()
    async with asyncio.timeout(20):
        await asked.wait()
    collector.close()
