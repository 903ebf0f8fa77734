"""The writer of Istio's statuses writes what changed, once, as the leader alone, and takes a refusal for an answer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from refmesh.config import istio_status, status_work
from refmesh.config.istio_status import IstioStatusWriter
from refmesh.config.leader_work import LeaderWork
from refmesh.discovery.standings import Standings, inputs
from refmesh.kubeclient import Kube
from tests.unit.refmesh_discovery.apiserver import ApiServer
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy

PATH = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/{}/status"


def route(name: str, generation: int = 1, **spec: Any) -> dict[str, Any]:
    to = {"http": [{"route": [{"destination": {"host": "echo"}}]}]}
    return policy(name, {"hosts": ["echo"], **to, **spec}, generation=generation, resourceVersion="5")


class Answering(ApiServer):
    """Answers every patch with a status, and holds what was written against the objects of a cluster."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__()
        self.cluster, self.status = cluster, 200
        self.refused: str | None = None
        """The only object whose status it does not take; None: any."""
        self.objects: dict[str, dict[str, Any]] = {}

    def put(self, obj: dict[str, Any]) -> None:
        self.objects[obj["metadata"]["name"]] = obj
        self.cluster.put("VirtualService", obj)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        about = self.refused is None or f"/{self.refused}/" in request.path
        if request.method == "PATCH" and self.status != 200 and about:
            self.patches.append((request.path, None))
            return web.json_response({"message": "no"}, status=self.status)
        reply = await super().handle(request)
        if request.method == "PATCH":
            obj = self.objects[request.path.split("/")[-2]]
            body = self.patches[-1][1]
            self.put({**obj, "status": body["status"], "metadata": {**obj["metadata"], "resourceVersion": "6"}})
        return reply


class Bench:
    """A writer, and an API server that takes what it writes."""

    def __init__(self, server: Answering) -> None:
        self.server, self.leads = server, True
        self.kube = Kube(server.url, None)
        self.writer = IstioStatusWriter(self.kube, lambda: server.cluster.store.raw_of_istio, lambda: self.leads)

    def offer(self) -> None:
        world = self.server.cluster.world()
        self.writer.offer(inputs(world.snapshot), partial(Standings, world.attachments))

    async def work(self) -> bool:
        self.offer()
        return await self.writer._work()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(istio_status, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(status_work, "_SHARE", 0)


def test_each_status_is_written_once_and_again_only_when_it_says_something_else() -> None:
    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            server.put(route("a"))
            server.put(route("b"))
            assert await bench.work()
            assert sorted(path for path, _ in server.patches) == [PATH.format("a"), PATH.format("b")]
            assert {body["metadata"]["resourceVersion"] for _, body in server.patches} == {"5"}
            # What it wrote comes back by the watch: nothing is left to say.
            for _ in range(3):
                assert await bench.work()
            assert len(server.patches) == 2
            server.cluster.drop("Service", "echo")
            assert await bench.work()
            assert len(server.patches) == 4
            await bench.kube.close()

    asyncio.run(story())


def test_a_status_is_written_in_the_version_that_its_object_was_read_in() -> None:
    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            server.put(route("a") | {"apiVersion": "networking.istio.io/v1beta1"})
            assert await bench.work()
            assert [path for path, _ in server.patches] == [PATH.format("a").replace("/v1/", "/v1beta1/")]
            await bench.kube.close()

    asyncio.run(story())


def test_nothing_is_said_of_an_object_that_is_newer_than_what_was_judged() -> None:
    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            server.put(route("a"))
            bench.offer()
            server.put(route("a", generation=2, hosts=["nobody"]))
            assert await bench.writer._work()
            assert not server.patches
            assert await bench.work()
            assert server.patches[0][1]["status"]["observedGeneration"] == 2
            await bench.kube.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("status", "complete", "asked"),
    [
        (401, False, 1),
        (503, False, 1),
        (403, False, 3),
        (500, False, 3),
        (409, False, 3),
        (413, True, 3),
        (422, True, 3),
    ],
)
def test_a_refusal_ends_the_round_only_where_no_other_write_would_go_through(
    status: int, complete: bool, asked: int
) -> None:
    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            for name in "abc":
                server.put(route(name))
            server.status = status
            assert await bench.work() is complete
            assert len(server.patches) == asked
            assert await bench.work() is complete
            # What will never be taken is not offered again.
            assert len(server.patches) == (asked if complete else 2 * asked)
            server.status = 200
            assert await bench.work()
            await bench.kube.close()

    asyncio.run(story())


def test_an_object_whose_status_nobody_takes_keeps_no_other_from_its_own() -> None:
    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            server.status, server.refused = 500, "a"
            for name in "abc":
                server.put(route(name))
            assert not await bench.work()
            assert [path.split("/")[-2] for path, _ in server.patches] == ["a", "b", "c"]
            server.patches.clear()
            server.put(route("d"))
            assert not await bench.work()
            # What was refused before has to wait for the others.
            assert [path.split("/")[-2] for path, _ in server.patches] == ["d", "a"]
            server.status = 200
            assert await bench.work()
            await bench.kube.close()

    asyncio.run(story())


def test_after_many_refusals_a_round_ends_and_the_next_begins_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_work, "_MOST_REFUSALS", 2)

    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            server.status = 403
            for name in "abcd":
                server.put(route(name))
            assert not await bench.work()
            assert not await bench.work()
            assert [path.split("/")[-2] for path, _ in server.patches] == ["a", "b", "c", "d"]
            await bench.kube.close()

    asyncio.run(story())


ODD = [
    "x",
    ["x"],
    {"conditions": "x"},
    {"conditions": ["x", {"type": ["x"]}], "validationMessages": ["x", {"type": 1}]},
]


@pytest.mark.parametrize("status", ODD)
def test_a_status_in_whatever_form_is_put_right(status: Any) -> None:
    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            server.put({**route("a"), "status": status})
            server.put(route("b"))
            assert await bench.work()
            assert sorted(path for path, _ in server.patches) == [PATH.format("a"), PATH.format("b")]
            assert await bench.work()
            assert len(server.patches) == 2
            await bench.kube.close()

    asyncio.run(story())


def test_work_goes_on_after_an_error_that_nobody_thought_of(caplog: pytest.LogCaptureFixture) -> None:
    class Work(LeaderWork):
        times, done = 0, asyncio.Event()

        async def _work(self) -> bool:
            self.times += 1
            if self.times == 1:
                raise AttributeError("odd")
            self.done.set()
            return True

    async def story() -> None:
        work = Work("look at things", lambda: True, 0.0)
        work.start()
        work.wake()
        async with asyncio.timeout(20):
            await work.done.wait()
        await work.close()

    asyncio.run(story())
    assert "look at things" in caplog.text


def test_a_follower_writes_nothing() -> None:
    async def story() -> None:
        async with Answering(MemoryCluster().with_echo()).serving() as server:
            assert isinstance(server, Answering)
            bench = Bench(server)
            bench.leads = False
            server.put(route("a"))
            assert not await bench.work()
            assert not server.patches
            await bench.kube.close()

    asyncio.run(story())
