from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from refmesh import arguments
from refmesh.errors import EnvironmentProblem, UsageProblem
from refmesh.install import installer, manifests, nodes, options
from refmesh.install.apply import path_of
from refmesh.install.check import judge_nodes
from refmesh.install.installer import Plan
from refmesh.kubeclient import Kube, WatchEvent

OPTIONS = options.parse(None, ["capture=node"])
OBJECTS = nodes.node_objects("mesh:1", OPTIONS)


def test_agents_are_there_only_where_they_are_asked_for():
    assert nodes.node_objects("mesh:1", options.parse(None, [])) == []
    daemon_set = OBJECTS[-1]
    assert daemon_set in Plan("mesh:1", OPTIONS).objects()
    for obj in OBJECTS:
        assert path_of(obj).startswith(("/api/", "/apis/"))
        assert obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "refmesh"
    with pytest.raises(UsageProblem, match="capture='host'"):
        options.parse(None, ["capture=host"])


def test_the_control_plane_is_told():
    args = manifests.deployment("mesh:1", OPTIONS)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments.parse(args[2:]).capture == "node"


def test_an_agent_has_what_it_needs_and_no_more():
    pod = OBJECTS[-1]["spec"]["template"]["spec"]
    assert pod["hostPID"]
    assert not pod.keys() & {"hostNetwork", "hostIPC"}
    assert all("hostPath" not in volume for volume in pod["volumes"])
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert context["privileged"] is False
    assert context["capabilities"] == {
        "drop": ["ALL"],
        "add": ["SYS_PTRACE", "SYS_ADMIN", "NET_ADMIN", "NET_RAW"],
    }
    assert context["readOnlyRootFilesystem"]


def test_an_agent_may_see_pods_and_nothing_else():
    roles = [obj for obj in OBJECTS if obj["kind"] in {"Role", "ClusterRole"}]
    assert [role["rules"] for role in roles] == [
        [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    ]


def test_the_control_planes_namespace_stays_restricted():
    key = "pod-security.kubernetes.io/enforce"
    homes = [obj for obj in Plan("mesh:1", OPTIONS).objects() if obj["kind"] == "Namespace"]
    assert {home["metadata"]["name"]: home["metadata"]["labels"][key] for home in homes} == {
        "refmesh-system": "restricted",
        "refmesh-node": "privileged",
    }


def node(name, system="linux"):
    return {"metadata": {"name": name, "labels": {"kubernetes.io/os": system}}}


def agent(name, ready=True):
    condition = {"type": "Ready", "status": str(ready)}
    return {"metadata": {}, "spec": {"nodeName": name}, "status": {"conditions": [condition]}}


def test_nodes_without_a_ready_agent_are_named():
    found = [node("c"), node("b"), node("a"), node("w", "windows")]
    finding = judge_nodes(found, [agent("a"), agent("b", ready=False)])
    assert not finding.ok
    assert "(b, c)" in finding.detail
    assert judge_nodes(found, [agent(name) for name in "abc"]).ok


class Cluster:
    """An API server of which the namespace of the agents does not end, for a node is lost."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {path_of(obj): obj for obj in objects}
        self.deleted = list[str]()

    async def request(self, method: str, path: str, *_: Any, **__: Any) -> dict[str, Any]:
        assert method == "DELETE"
        self.deleted.append(path)
        if path.endswith("/refmesh-node") and "/namespaces/" in path:
            self.objects[path]["metadata"]["deletionTimestamp"] = "now"
        else:
            self.objects.pop(path, None)
        return {}

    async def get(self, api: str, plural: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        scope = f"/namespaces/{namespace}" if namespace else ""
        return self.objects.get(f"/{'apis' if '/' in api else 'api'}/{api}{scope}/{plural}/{name}")

    async def list(self, api: str, plural: str, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [obj for path, obj in self.objects.items() if path.startswith(f"/apis/{api}/{plural}/")]

    async def watch(self, *_: Any) -> AsyncIterator[WatchEvent]:
        for event in list[WatchEvent]():
            yield event


def with_version(obj: dict[str, Any]) -> dict[str, Any]:
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": "1"}}


async def test_a_lost_node_holds_up_nothing_but_its_namespace(monkeypatch):
    monkeypatch.setattr(nodes, "_GONE_SECONDS", 0.05)
    everything = Plan("mesh:1", OPTIONS).objects()
    definitions = {path_of(obj) for obj in everything if obj["kind"] == "CustomResourceDefinition"}
    cluster, said = Cluster(*map(with_version, everything)), list[str]()
    with pytest.raises(EnvironmentProblem, match="namespace refmesh-node is being deleted") as error:
        await installer.uninstall(cast("Kube", cluster), said.append, purge=True)
    assert "Node is deleted" in str(error.value.fix)
    assert definitions <= set(cluster.deleted)
    assert any("clusterroles/refmesh-node" in path for path in cluster.deleted)
    assert "namespace refmesh-system" in said


async def test_an_install_without_agents_waits_for_no_lost_node():
    cluster = Cluster(*map(with_version, OBJECTS))
    assert await nodes.remove(cast("Kube", cluster))


async def test_an_install_waits_for_the_end_of_the_one_before(monkeypatch):
    monkeypatch.setattr(nodes, "_GONE_SECONDS", 0.05)
    home = with_version(OBJECTS[0])
    home["metadata"]["deletionTimestamp"] = "now"
    with pytest.raises(EnvironmentProblem, match="is being deleted and is not gone"):
        await nodes.preflight(cast("Kube", Cluster(home)), OPTIONS)


def test_agents_may_have_their_priority_and_are_renewed_a_quarter_at_once():
    daemon_set = OBJECTS[-1]
    (quota,) = (obj for obj in OBJECTS if obj["kind"] == "ResourceQuota")
    (scope,) = quota["spec"]["scopeSelector"]["matchExpressions"]
    assert scope == {"operator": "In", "scopeName": "PriorityClass", "values": ["system-node-critical"]}
    assert daemon_set["spec"]["template"]["spec"]["priorityClassName"] in scope["values"]
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "25%"}


class Nodes:
    """An API server with nodes and agents, by whether they are ready."""

    def __init__(self, found: dict[str, bool], agents: list[dict[str, Any]]) -> None:
        ready = {name: {"conditions": [{"type": "Ready", "status": str(state)}]} for name, state in found.items()}
        self.nodes = [node(name) | {"status": status} for name, status in ready.items()]
        self.agents = agents

    async def list(self, _api: str, plural: str, *_: Any) -> list[dict[str, Any]]:
        return self.nodes if plural == "nodes" else self.agents


def marked(name: str, daemon_set: dict[str, Any], *, ready: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = agent(name, ready=ready)
    return found | {"metadata": {"name": name, **daemon_set["spec"]["template"]["metadata"]}}


async def test_a_node_that_is_not_ready_fails_no_install():
    cluster, said = Nodes({"a": True, "b": False}, [marked("a", OBJECTS[-1])]), list[str]()
    await nodes.wait(cast("Kube", cluster), OBJECTS[-1], 20.0, said.append)
    assert said == ["an agent on every node, but for 1 not ready, such as b"]


async def test_nodes_whose_agent_is_one_of_before_are_waited_for():
    before = nodes.node_objects("mesh:0", OPTIONS)[-1]
    cluster = Nodes({"a": True, "b": True, "c": False}, [marked("a", OBJECTS[-1]), marked("b", before)])
    with pytest.raises(EnvironmentProblem, match=r"1 of 2 ready nodes .* of this install .*, such as b"):
        await nodes.wait(cast("Kube", cluster), OBJECTS[-1], 0.05, list[str]().append)
