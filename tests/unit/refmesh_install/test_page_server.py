"""The page on the user's machine: what the control plane serves, and logs that are read with the user's own rights."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from refmesh.dashboard.logging import Logging
from refmesh.dashboard.server import application
from refmesh.errors import EnvironmentProblem
from refmesh.install.page_server import entries_of, serving
from refmesh.kubeclient import Kube
from refmesh.telemetry.traces import Traces
from tests.unit.refmesh_dashboard.meshes import shop
from tests.unit.refmesh_install.test_bug_report import ODD
from tests.unit.refmesh_telemetry.test_entries import JSON, TRACE

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def line(number: int, **more: object) -> str:
    return json.dumps({**JSON, "start_time": f"2026-11-27T19:18:{number:02}.000Z", **more})


LOGS = {
    "reviews-1": "\n".join(["refmesh-agent: ready", line(1, path="/first?token=s3cret"), line(3), "GET / 200"]),
    "reviews-2": "\n".join([line(2, path=f"/reset/{JWT}"), line(4, method="<b>")]),
    "odd-1": "\n".join([line(5, path=f"/a.{ODD[0]}"), line(6, path=f"/a.{ODD[1]}"), line(7, path="/b\ud800")]),
}


class ApiServer:
    """Serves logs of proxies, as far as somebody may read them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def log(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        name = request.match_info["pod"]
        if name in LOGS:
            return web.Response(text=LOGS[name])
        status = 403 if name.startswith("secret") else 404
        return web.json_response({"message": f"no {name} for you"}, status=status)


@asynccontextmanager
async def api() -> AsyncIterator[tuple[Kube, ApiServer]]:
    fake, app = ApiServer(), web.Application()
    app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/log", fake.log)
    async with TestServer(app) as server:
        kube = Kube(str(server.make_url("")), None)
        try:
            yield kube, fake
        finally:
            await kube.close()


async def test_the_newest_entry_comes_first_and_secrets_stay_in_the_log() -> None:
    async with api() as (kube, fake):
        found = await entries_of(kube, "shop", ["reviews-1", "reviews-2"])
    assert [(pod, entry.time[17:19]) for pod, entry in found.entries] == [
        ("reviews-2", "04"), ("reviews-1", "03"), ("reviews-2", "02"), ("reviews-1", "01"),
    ]  # fmt: skip
    assert [entry.path for _, entry in found.entries] == ["/pay/7", "/pay/7", "/reset/<removed>", "/first"]
    assert (found.foreign, found.problems) == (1, [])
    for asked in fake.asked:
        assert asked.partition("?")[2] == "container=refmesh-proxy&tailLines=100&limitBytes=2097152"


async def test_no_line_ends_the_page() -> None:
    logging = Logging(("odd-1",))
    inside = TestServer(application(shop, Traces(), lambda _space, _name: logging), host="127.0.0.1")
    async with api() as (kube, _), inside, aiohttp.ClientSession() as session:
        async with serving(kube, inside.port or 0, 0) as port:
            async with session.get(f"http://localhost:{port}/log/shop") as reply:
                text = await reply.text()
    assert reply.status == 200
    assert text.count("GET /a.&lt;removed&gt;") == 2
    assert "GET /b\ufffd" in text


async def test_what_may_not_be_read_is_said_once() -> None:
    async with api() as (kube, _):
        found = await entries_of(kube, "shop", ["secret-1", "secret-2", "gone-1", "reviews-1"])
    assert len(found.entries) == 2
    assert sorted(found.problems) == [
        "A pod is gone.",
        "You may not read these logs: it takes the verb get on pods/log in namespace shop. (2 pods)",
    ]


async def test_pages_are_those_of_the_control_plane_with_entries_in_their_place() -> None:
    logging = Logging(("reviews-1", "reviews-2"))
    inside = TestServer(application(shop, Traces(), lambda _space, _name: logging), host="127.0.0.1")
    async with api() as (kube, fake), inside, aiohttp.ClientSession() as session:
        async with serving(kube, inside.port or 0, 0) as port:
            for path, status, held in (
                ("/", 200, "Service graph"),
                (f"/trace/{TRACE}", 404, "There is no trace"),
                ("/service/shop/reviews", 200, "&lt;b&gt; /pay/7"),
                ("/log/shop", 200, "/first"),
                ("/nothing", 404, ""),
            ):
                async with session.get(f"http://localhost:{port}{path}") as reply:
                    text = await reply.text()
                    assert (reply.status, held in text) == (status, True), path
                    assert "s3cret" not in text
                    if status == 200:
                        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert len(fake.asked) == 4
            async with session.get(f"http://localhost:{port}/log/shop", headers={"Host": "evil.example"}) as reply:
                assert reply.status == 403
            async with session.post(f"http://localhost:{port}/log/shop") as reply:
                assert reply.status == 405
            assert len(fake.asked) == 4
            await inside.close()
            async with session.get(f"http://localhost:{port}/") as reply:
                assert (reply.status, "the control plane does not answer" in await reply.text()) == (502, True)


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    async with api() as (kube, _), TestServer(web.Application(), host="127.0.0.1") as taken:
        with pytest.raises(EnvironmentProblem, match="cannot be opened"):
            async with serving(kube, 1, taken.port or 0):
                pass
