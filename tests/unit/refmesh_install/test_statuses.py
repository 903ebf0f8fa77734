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


def test_what_was_said_in_an_older_version_is_taken_back_in_that() -> None:
    older = PATH.replace("/v1/", "/v1beta1/")

    async def story() -> None:
        async with Changing().serving() as server:
            server.missing.add(PATH)
            server.items[older] = [written("ours", "Accepted") | {"apiVersion": "networking.istio.io/v1beta1"}]
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append)
            assert [path for path, _ in server.patches] == [
                "/apis/networking.istio.io/v1beta1/namespaces/shop/virtualservices/ours/status"
            ] * 2
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


GATEWAYS = "/apis/gateway.networking.k8s.io/v1"
OURS, THEIRS = "refmesh.io/mesh-controller", "example.com/theirs"
TRUE = [{"type": kind, "status": "True"} for kind in ("Accepted", "Programmed", "Theirs")]


def of_gateway_api(name: str, status: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": "9"}, "spec": spec, "status": status}


def test_gateways_classes_and_routes_are_no_longer_said_to_be_in_force_by_refmesh() -> None:
    full = {"conditions": TRUE, "listeners": [{"name": "web"}], "addresses": [{"value": "1.2.3.4"}]}
    parents = [{"controllerName": name, "conditions": TRUE} for name in (OURS, THEIRS)]
    unknown = {"conditions": [{"type": "Accepted", "status": "Unknown"}]}
    classes = [
        of_gateway_api(name, {"conditions": TRUE}, controllerName=whose)
        for name, whose in (("own", OURS), ("else", THEIRS))
    ]
    for item in classes:
        del item["metadata"]["namespace"]
    told = {
        "gatewayclasses": classes,
        "gateways": [
            *(of_gateway_api(f"by-{name}", full, gatewayClassName=name) for name in ("refmesh", "own", "else")),
            of_gateway_api("unknown", unknown, gatewayClassName="refmesh"),
            of_gateway_api("odd", "x", gatewayClassName="refmesh"),
        ],
        "httproutes": [
            of_gateway_api("both", {"parents": parents}),
            of_gateway_api("theirs", {"parents": parents[1:]}),
        ],
        "grpcroutes": [of_gateway_api("ours", {"parents": parents[:1]}), of_gateway_api("none", None)],
    }

    async def story() -> None:
        async with ApiServer().serving() as server:
            server.items = {f"{GATEWAYS}/{plural}": items for plural, items in told.items()}
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append)
            gone = {"conditions": TRUE[2:], "listeners": None, "addresses": None}
            assert {path.removeprefix(GATEWAYS): body["status"] for path, body in server.patches} == {
                "/gatewayclasses/own/status": {"conditions": TRUE[2:]},
                "/namespaces/shop/gateways/by-refmesh/status": gone,
                "/namespaces/shop/gateways/by-own/status": gone,
                "/namespaces/shop/httproutes/both/status": {"parents": parents[1:]},
                "/namespaces/shop/grpcroutes/ours/status": {"parents": []},
            }
            assert said == []
            await kube.close()

    asyncio.run(story())


def test_only_what_was_said_of_gateways_is_taken_back_where_the_mesh_goes_on_without_them() -> None:
    async def story() -> None:
        async with ApiServer().serving() as server:
            front = of_gateway_api("front", {"conditions": TRUE[:1]}, gatewayClassName="refmesh")
            route = of_gateway_api("route", {"parents": [{"controllerName": OURS, "conditions": TRUE}]})
            server.items = {
                f"{GATEWAYS}/gateways": [front],
                f"{GATEWAYS}/httproutes": [route],
                PATH: [written("ours", "Accepted")],
            }
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append, only=("Gateway", "GatewayClass"))
            assert [path for path, _ in server.patches] == [f"{GATEWAYS}/namespaces/shop/gateways/front/status"]
            assert said == []
            await kube.close()

    asyncio.run(story())


class Failing(ApiServer):
    """It refuses or fails where it was told to; 0 ends the connection."""

    def __init__(self, answers: dict[str, int]) -> None:
        super().__init__()
        self.answers = answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        for end, status in self.answers.items():
            if request.path.endswith(end) and status:
                return web.json_response({"message": f"no {end}"}, status=status)
            if request.path.endswith(end) and request.transport is not None:
                request.transport.close()
        return await super().handle(request)


def test_what_could_not_be_taken_back_is_said_and_the_rest_is_taken_back() -> None:
    answers = {"/sidecars": 403, "/telemetries": 500, "/serviceentries": 0, "/theirs/status": 0, "/gatewayclasses": 403}

    async def story() -> None:
        async with Failing(answers).serving() as server:
            server.items[PATH] = [written("theirs", "Accepted"), written("ours", "Accepted")]
            server.items[f"{GATEWAYS}/gateways"] = [of_gateway_api("front", {"conditions": TRUE}, gatewayClassName="x")]
            server.missing.add(f"{GATEWAYS}/tcproutes")
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append)
            assert any(path.endswith("/ours/status") for path, _ in server.patches)
            objects, kinds = said
            assert objects.startswith("1 objects keep a status that refmesh wrote: ")
            for words in ("sidecars: no /sidecars", "telemetries: no", "serviceentries: ", "gatewayclasses: no"):
                assert words in kinds
            assert "tcproutes" not in kinds
            assert kinds.count("gatewayclasses: ") == 1
            await kube.close()

    asyncio.run(story())


class Changing(ApiServer):
    """Every object was changed by somebody else when it is written for the first time."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH" and not self.patches:
            self.patches.append((request.path, None))
            return web.json_response({"message": "changed"}, status=409)
        if request.method == "GET" and request.path.endswith("/ours"):
            version = "/".join(request.path.split("/")[2:4])
            return web.json_response(written("ours", "Accepted") | {"apiVersion": version})
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
