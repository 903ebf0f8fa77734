"""The ground of the latency measurement, on a cluster of nothing."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.kube import NotEventually
from load import ground as grounds
from load.ground import ground
from load.meshing import Meshing
from load.plan import Plan
from reports.errors import EnvironmentProblem

MESH = Meshing("mesh", namespace_labels={"inject": "yes"})
NODES = {"driver": "left", "echo": "right"}


class Cluster:
    """Knows the pods of each namespace, and remembers what was applied."""

    def __init__(self, status=None, sidecars=()):
        self.applied: list[Any] = []
        self.status = status or {}
        self.sidecars = [{"name": name} for name in sidecars]

    @contextmanager
    def namespace(self, name, *_):
        yield name

    def apply(self, *objects, **_):
        self.applied += objects

    def list(self, _, kind, namespace):
        assert kind == "Pod"
        spec = {"containers": [{"name": "main"}, *(self.sidecars if "meshed" in namespace else ())]}
        return [
            {
                "metadata": {"name": app, "labels": {"app": app}},
                "spec": spec | {"nodeName": node},
                "status": self.status,
            }
            for app, node in NODES.items()
        ]


def made(monkeypatch, cluster, meshing=MESH, wait=lambda *_: None):
    monkeypatch.setattr(grounds, "Driver", lambda *_: nullcontext(SimpleNamespace()))
    monkeypatch.setattr(grounds, "wait_ready", wait)
    monkeypatch.setattr(grounds, "_reachable", lambda *_: None)
    monkeypatch.setattr(grounds, "_strict", lambda *_: "")
    return ground(cluster, meshing, "image", Plan(), lambda _: None)


def test_the_pods_of_the_mesh_run_on_the_nodes_of_those_without(monkeypatch):
    cluster = Cluster()
    with made(monkeypatch, cluster) as ready:
        assert ready.nodes == NODES
    wanted = {}
    for item in cluster.applied:
        pod = item["spec"]["template"] if item["kind"] == "Deployment" else item
        if "affinity" in pod.get("spec", {}):
            (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
                "nodeSelectorTerms"
            ]
            assert "meshed" in item["metadata"]["namespace"]
            wanted[item["metadata"]["name"]] = term["matchFields"]
    assert wanted == {
        app: [{"key": "metadata.name", "operator": "In", "values": [node]}] for app, node in NODES.items()
    }


def test_no_room_on_those_nodes_is_told_with_the_schedulers_reason(monkeypatch):
    def wait(_, space, *__):
        if "meshed" in space:
            raise NotEventually("pods are ready", 60, None, 1)

    full = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes: Insufficient cpu"}]}
    with (
        pytest.raises(EnvironmentProblem, match=r"left, right.*Insufficient cpu"),
        made(monkeypatch, Cluster(full), wait=wait),
    ):
        pytest.fail("it was measured")
