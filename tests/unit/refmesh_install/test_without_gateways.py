"""A mesh that is installed without gateways leaves none of those that were there before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web

from refmesh.config.ingress import CONTROLLER
from refmesh.errors import EnvironmentProblem
from refmesh.ingress.names import GATEWAY_LABEL
from refmesh.ingress.objects import CLASSIC
from refmesh.install import installer, manifests, options
from refmesh.install.apply import path_of
from refmesh.install.installer import Plan, install
from refmesh.kubeclient import Kube
from tests.unit.refmesh_install.serving import client_of

OURS = {"app.kubernetes.io/managed-by": "refmesh"}
LABELS: dict[str, dict[str, str]] = {
    "front-refmesh": OURS | {GATEWAY_LABEL: "front"},
    CLASSIC: OURS | {"app": CLASSIC},
    "refmesh": OURS | {"app": "refmesh"},
    "theirs": {"app": CLASSIC, GATEWAY_LABEL: "front"},
}


def selected(labels: Mapping[str, str], selector: str) -> bool:
    wanted = [one.partition("=") for one in selector.split(",") if one]
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in wanted)


class Cluster:
    """Has these objects of each kind, and notes what is deleted."""

    def __init__(self) -> None:
        self.deleted = list[str]()

    async def list(self, _api: str, _plural: str, selector: str) -> list[dict[str, Any]]:
        return [
            {"metadata": {"name": name, "namespace": "shop"}}
            for name, labels in LABELS.items()
            if selected(labels, selector)
        ]

    async def request(self, method: str, path: str, _: Any) -> None:
        assert method == "DELETE"
        self.deleted.append(path)


async def test_workloads_of_gateways_and_their_class_go_and_nothing_else() -> None:
    cluster = Cluster()
    assert await installer._close_gateways(cast("Kube", cluster)) == 2
    kinds = ("/api/v1/{}/services/", "/apis/apps/v1/{}/deployments/", "/api/v1/{}/serviceaccounts/")
    made = {kind.format("namespaces/shop") + name for kind in kinds for name in ("front-refmesh", CLASSIC)}
    assert set(cluster.deleted) == {*made, "/apis/gateway.networking.k8s.io/v1/gatewayclasses/refmesh"}


PATH = re.compile("(/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/([^/]+)(?=/))?/([^/]+)(?:/([^/]+))?")
GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
OFF = options.parse(None, ["gateways=false", "ingress_gateway=false"])
ROLE = next(obj for obj in manifests.rbac(gateways=True) if obj["kind"] == "ClusterRole")


def said(status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "namespace": "shop", "resourceVersion": "9"}, "spec": spec, "status": status}


class Served:
    """An API server on which everything comes true at once; with `broken`, but that an image is not to be had."""

    def __init__(self) -> None:
        crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io"
        definition = {"metadata": {"name": "httproutes"}, "spec": {"versions": [{"name": "v1", "served": True}]}}
        self.objects: dict[str, dict[str, Any]] = {crd: definition, path_of(ROLE): ROLE}
        self.statuses: dict[str, Any] = {}
        self.broken = False

    def put(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        obj["metadata"] |= {"resourceVersion": "1", "generation": 1}
        if obj["kind"] == "CustomResourceDefinition":
            obj["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        if obj["kind"] == "MutatingWebhookConfiguration":
            obj["webhooks"] = [hook | {"clientConfig": {"caBundle": "x"}} for hook in obj["webhooks"]]
        if obj["kind"] == "Deployment":
            counts = dict.fromkeys(("updatedReplicas", "replicas", "availableReplicas"), 0 if self.broken else 1)
            obj["status"] = {"observedGeneration": 1, **counts}
            stuck = {"image": "mesh:1", "state": {"waiting": {"reason": "ErrImagePull"}}}
            if self.broken:
                pod = {
                    "metadata": {"name": "p", "labels": {"app": "refmesh"}},
                    "status": {"containerStatuses": [stuck]},
                }
                self.objects["/api/v1/namespaces/refmesh-system/pods/p"] = pod
        self.objects[path] = obj
        return obj

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if request.method == "PATCH" and path.endswith("/status"):
            self.statuses[path] = json.loads(await request.text())["status"]
            return web.json_response({})
        if request.method == "PATCH":
            return web.json_response(self.put(path, json.loads(await request.text())))
        if path == "/version" or request.method == "POST":
            return web.json_response({"gitVersion": "v1.31.0"})
        if request.method == "DELETE":
            self.objects.pop(path, None)
            return web.json_response({})
        found = PATH.fullmatch(path)
        assert found is not None
        root, namespace, plural, name = found.groups()
        if name:
            return web.json_response(self.objects.get(path, {}), status=200 if path in self.objects else 404)
        items = [
            obj
            for where, obj in self.objects.items()
            if (at := PATH.fullmatch(where)) and (at[1], at[3]) == (root, plural) and namespace in {None, at[2]}
            if selected(obj["metadata"].get("labels", {}), request.query.get("labelSelector", ""))
        ]
        return web.json_response({"metadata": {}, "items": items})


async def test_an_install_takes_back_what_is_said_of_gateways_also_where_no_workload_is_left() -> None:
    true = [{"type": "Accepted", "status": "True"}]
    parents = [{"parentRef": {"kind": "Service", "name": "x"}, "controllerName": CONTROLLER, "conditions": true}]
    own_class = said({"conditions": true}, controllerName=CONTROLLER)
    del own_class["metadata"]["namespace"]
    served, told = Served(), list[str]()
    served.objects |= {
        f"{GATEWAY_API}/namespaces/shop/gateways/x": said({"conditions": true}, gatewayClassName="refmesh"),
        f"{GATEWAY_API}/gatewayclasses/x": own_class,
        f"{GATEWAY_API}/namespaces/shop/httproutes/x": said({"parents": parents}),
    }
    async with client_of(served.handle) as kube:
        await install(kube, Plan("mesh:1", OFF, timeout=20), told.append)
    assert set(served.statuses) == {
        f"{GATEWAY_API}/namespaces/shop/gateways/x/status",
        f"{GATEWAY_API}/gatewayclasses/x/status",
    }
    assert not [line for line in told if "workloads" in line]


async def test_an_install_names_the_pods_that_go_on_with_the_proxy_before() -> None:
    served, told = Served(), list[str]()
    container = {"name": "refmesh-proxy", "image": "mesh:0"}
    served.objects["/api/v1/namespaces/shop/pods/cart"] = {
        "metadata": {"name": "cart", "namespace": "shop", "labels": {"security.istio.io/tlsMode": "istio"}},
        "spec": {"initContainers": [container]},
        "status": {"phase": "Running"},
    }
    async with client_of(served.handle) as kube:
        await install(kube, Plan("mesh:1", OFF, timeout=20), told.append)
        assert told[-1].endswith("another image than the control plane's, mesh:1; restart their workloads: shop/cart")
        container["image"] = "mesh:1"
        await install(kube, Plan("mesh:1", OFF, timeout=20), told.append)
        assert "restart" not in told[-1]


async def test_a_mesh_keeps_its_trust_domain() -> None:
    served, told = Served(), list[str]()
    own = options.parse(None, ["gateways=false", "trust_domain=corp.example"])
    async with client_of(served.handle) as kube:
        await install(kube, Plan("mesh:1", own, timeout=20), told.append)
        before = dict(served.objects)
        with pytest.raises(EnvironmentProblem, match=r"corp\.example, not cluster\.local.*trust_domain=corp\.example"):
            await install(kube, Plan("mesh:1", OFF, timeout=20), told.append)
        assert served.objects == before
        await install(kube, Plan("mesh:1", replace(own, log_level="debug"), timeout=20), told.append)


async def test_the_control_plane_before_keeps_its_rights_until_another_runs() -> None:
    served, told = Served(), list[str]()
    (less,) = (obj["rules"] for obj in manifests.rbac(gateways=False) if obj["kind"] == "ClusterRole")

    def has(rules: list[Any]) -> bool:
        return all(rule in served.objects[path_of(ROLE)]["rules"] for rule in rules)

    async with client_of(served.handle) as kube:
        served.broken = True
        with pytest.raises(EnvironmentProblem, match="mesh:1 is not on the node"):
            await install(kube, Plan("mesh:1", OFF, timeout=20), told.append)
        assert has(ROLE["rules"])
        served.broken = False
        await install(kube, Plan("mesh:1", OFF, timeout=20), told.append)
        assert served.objects[path_of(ROLE)]["rules"] == less
        served.broken = True
        with pytest.raises(EnvironmentProblem):
            await install(kube, Plan("mesh:1", options.parse(None, []), timeout=20), told.append)
        assert has(ROLE["rules"])
