"""The workloads of Gateways that come to have another class."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from refmesh.ingress.deployer import Deployer
from refmesh.injector.containers import Config
from refmesh.kubeclient import Kube, KubeError
from tests.unit.refmesh_discovery.helpers import MemoryCluster
from tests.unit.refmesh_ingress.doorways import gateway, gateway_class, https, listener

SELECTOR = {"app.kubernetes.io/managed-by=refmesh", "gateway.networking.k8s.io/gateway-name"}
OLD, NEW = {"front-refmesh"}, {"front-internal"}


class Cluster:
    """What is applied stays, and of it Services can be listed; `refuses`: the kind of which nothing is deleted."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.refuses = "none"

    async def request(self, method: str, path: str, body: Any, **_: Any) -> None:
        if method == "PATCH":
            self.objects[path] = copy.deepcopy(body)
        elif f"/{self.refuses}/" in path:
            raise KubeError(500, "not now")
        else:
            assert method == "DELETE"
            self.objects.pop(path, None)

    async def list(self, api: str, plural: str, *, selector: str) -> list[dict[str, Any]]:
        assert (api, plural, set(selector.split(","))) == ("v1", "services", SELECTOR)
        return [one for path, one in self.objects.items() if "/services/" in path]

    def names(self, plural: str) -> set[str]:
        return {path.rpartition("/")[2] for path in self.objects if f"/{plural}/" in path}

    @property
    def workloads(self) -> set[str]:
        found = self.names("services")
        assert found == self.names("deployments") == self.names("serviceaccounts")
        return found


class Mesh:
    """A leader after another, of a cluster with three classes, one of which is another controller's."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.known = MemoryCluster().put("GatewayClass", gateway_class(), gateway_class(name="internal"))
        self.known.put("GatewayClass", gateway_class("example.com/other", "other"))
        self.restart()

    def restart(self) -> None:
        kube = cast("Kube", self.cluster)
        self.deployer = Deployer(kube, lambda: Config("mesh:1", "ROOT"), lambda: True, "refmesh-system")

    async def gateway(self, class_name: str, *listeners: dict[str, Any], uid: str = "uid-front") -> bool:
        made = gateway(*(listeners or (listener("http", 80),)), gatewayClassName=class_name)
        made["metadata"]["uid"] = uid
        self.deployer.offer(self.known.put("Gateway", made).snapshot())
        return await self.deployer._work()


async def test_of_two_classes_one_workload_is_left() -> None:
    mesh = Mesh()
    await mesh.gateway("refmesh")
    assert mesh.cluster.workloads == OLD
    await mesh.gateway("internal")
    assert mesh.cluster.workloads == NEW
    (service,) = await mesh.cluster.list("v1", "services", selector=",".join(SELECTOR))
    # Pods of the class before have the Gateway's name as well while they end.
    assert service["spec"]["selector"]["gateway.networking.k8s.io/gateway-class-name"] == "internal"


@pytest.mark.parametrize(("class_name", "left"), [("internal", NEW), ("other", set()), ("nobodys", set())])
async def test_whoever_leads_next_deletes_what_is_left(class_name: str, left: set[str]) -> None:
    mesh = Mesh()
    await mesh.gateway("refmesh")
    mesh.restart()
    await mesh.gateway(class_name)
    assert mesh.cluster.workloads == left


async def test_a_deletion_that_fails_is_made_again() -> None:
    mesh = Mesh()
    await mesh.gateway("refmesh")
    mesh.cluster.refuses = "deployments"
    assert not await mesh.gateway("internal")
    assert mesh.cluster.names("services") == OLD | NEW
    mesh.cluster.refuses = "none"
    assert await mesh.gateway("internal")
    assert mesh.cluster.workloads == NEW


async def test_one_stays_until_there_is_another_and_where_its_gateway_is_not_the_one_that_is_there() -> None:
    mesh = Mesh()
    await mesh.gateway("refmesh")
    # Its Secret was not read yet.
    await mesh.gateway("internal", https("web"))
    assert mesh.cluster.workloads == OLD
    await mesh.gateway("internal", uid="uid-another")
    assert mesh.cluster.workloads == OLD | NEW
