"""The ground of the latency measurement, on a cluster of nothing."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.kube import NotEventually
from load import ground as grounds
from load.ground import ground
from load.meshing import Meshing, Strict
from load.plan import Plan
from load.sample import Sample
from reports.errors import EnvironmentProblem

MESH = Meshing("mesh", namespace_labels={"inject": "yes"})
WORDLESS = replace(MESH, strict=lambda _: Strict(problem="no words for it"))
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


def sample(error=None, status=None):
    return Sample(0.0, 0.0, 0.001, status, error, None)


RESET = sample("reset")


def made(monkeypatch, cluster, meshing=MESH, wait=lambda *_: None, told=RESET):
    """The ground; whatever the driver without a sidecar asks of the echo with one ends as told."""
    done = SimpleNamespace(samples=(told,) * 5)
    driver = SimpleNamespace(start=lambda _: SimpleNamespace(wait=lambda: done))
    monkeypatch.setattr(grounds, "Driver", lambda *_: nullcontext(driver))
    monkeypatch.setattr(grounds, "wait_ready", wait)
    monkeypatch.setattr(grounds, "_reachable", lambda *_: None)
    return ground(cluster, meshing, "image", Plan(strict_timeout=0.01), lambda _: None)


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


@pytest.mark.parametrize("told", [sample("reset"), sample("eof"), sample(status=403)])
def test_mutual_tls_is_proven_by_what_is_refused(monkeypatch, told):
    for meshing in (MESH, WORDLESS):
        with made(monkeypatch, Cluster(), meshing, told=told) as ready:
            assert ready.problem == ""


@pytest.mark.parametrize("told", [sample("timeout"), sample("dns"), sample("refused"), sample(status=200)])
def test_what_is_served_or_not_answered_proves_nothing(monkeypatch, told):
    with made(monkeypatch, Cluster(), told=told) as ready:
        assert f"ended with {told.error or told.status}" in ready.problem
        assert not ready.unsupported
    with made(monkeypatch, Cluster(), WORDLESS, told=told) as ready:
        assert ready.problem.endswith("no words for it")
        assert ready.unsupported


def test_pods_without_the_proxy_are_no_arm_of_the_mesh(monkeypatch):
    named = replace(WORDLESS, proxy="proxy")
    with made(monkeypatch, Cluster(), named) as ready:
        assert ready.problem == "pods without the sidecar proxy are not in the mesh: driver, echo"
        assert not ready.unsupported
    with made(monkeypatch, Cluster(sidecars=("proxy",)), named) as ready:
        assert ready.problem == ""
