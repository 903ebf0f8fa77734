from __future__ import annotations

import pytest

from refmesh import arguments
from refmesh.errors import UsageProblem
from refmesh.install import manifests, nodes, options
from refmesh.install.apply import path_of
from refmesh.install.check import judge_nodes
from refmesh.install.installer import Plan

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
