"""Of a mesh that is gone no status says any more that something is in force."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from refmesh.install.check import judge_objects
from refmesh.install.crds import crds
from refmesh.install.statuses import forget_statuses
from refmesh.kubeclient import Kube
from tests.unit.refmesh_discovery.apiserver import ApiServer

ODD: list[Any] = ["x", ["x"], {"conditions": "x"}, {"conditions": ["x", {"type": ["x"]}]}]
PATH = "/apis/networking.istio.io/v1/virtualservices"


def written(name: str, *types: str) -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True"} for kind in types]
    status = {"observedGeneration": 1, "conditions": conditions, "validationMessages": []}
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": "9"}, "status": status}


def test_what_refmesh_said_is_taken_back_and_nothing_else() -> None:
    async def story() -> None:
        async with ApiServer().serving() as server:
            server.items[PATH] = [written("ours", "Accepted", "PassedAnalysis", "Theirs"), written("theirs", "Theirs")]
            server.missing.add("/apis/telemetry.istio.io/v1/telemetries")
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append)
            ((path, body),) = server.patches
            assert path == "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/ours/status"
            assert body["status"]["conditions"] == [{"type": "Theirs", "status": "True"}]
            assert body["status"]["observedGeneration"] is None
            assert said == []
            await kube.close()

    asyncio.run(story())


def test_what_istio_itself_said_stays_and_an_odd_status_stops_nobody() -> None:
    odd = [{"metadata": {"name": f"o{n}", "namespace": "shop"}, "status": status} for n, status in enumerate(ODD)]

    async def story() -> None:
        async with ApiServer().serving() as server:
            server.items[PATH] = [*odd, written("istio", "Reconciled", "PassedAnalysis"), written("ours", "Accepted")]
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append)
            assert [path.split("/")[-2] for path, _ in server.patches] == ["ours"]
            assert said == []
            await kube.close()

    asyncio.run(story())
    assert judge_objects([("VirtualService", one) for one in odd]).ok


class Changing(ApiServer):
    """Every object was changed by somebody else when it is written for the first time."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH" and not self.patches:
            self.patches.append((request.path, None))
            return web.json_response({"message": "changed"}, status=409)
        if request.method == "GET" and request.path.endswith("/ours"):
            return web.json_response(written("ours", "Accepted"))
        return await super().handle(request)


def test_an_object_that_was_changed_meanwhile_is_read_again() -> None:
    async def story() -> None:
        async with Changing().serving() as server:
            server.items[PATH] = [written("ours", "Accepted")]
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append)
            assert [body is not None for _, body in server.patches] == [False, True]
            assert said == []
            await kube.close()

    asyncio.run(story())


def test_definitions_take_lists_of_objects_in_a_status_and_whatever_else() -> None:
    for definition in crds():
        for version in definition["spec"]["versions"]:
            status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
            assert status["x-kubernetes-preserve-unknown-fields"]
            for field in ("conditions", "validationMessages"):
                items = status["properties"][field]["items"]
                assert (items["type"], items["x-kubernetes-preserve-unknown-fields"]) == ("object", True)
