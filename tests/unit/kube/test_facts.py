"""What a report says of a cluster, and what it leaves out where the user may not look."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.kube.errors import ApiProblem
from fixtures.kube.facts import facts

INFO = {"containerRuntimeVersion": "containerd://2.1", "kernelVersion": "6.1", "osImage": "Debian 12"}
NODE = {"status": {"nodeInfo": INFO, "capacity": {"cpu": "2"}}}
MARKS = {f"gateway.networking.k8s.io/{key}": value for key, value in (("bundle-version", "v1.7.0"), ("channel", "x"))}
GATEWAY_API = {"Gateway API": "v1.7.0", "Gateway API channel": "x"}


class Cluster:
    """Two nodes and the Gateway API; what is `closed` answers with this status."""

    version = "v1.36.0"

    def __init__(self, *closed: str, status: int = 403) -> None:
        self.closed, self.status = closed, status

    def _look(self, kind: str) -> None:
        if kind in self.closed:
            said = f'{kind} is forbidden: User "ci" cannot list resource'
            raise ApiProblem("refused", status=self.status, message=said)

    def list(self, _: str, kind: str) -> list[dict[str, Any]]:
        self._look(kind)
        return [NODE, NODE]

    def get(self, _: str, kind: str, __: str) -> dict[str, Any]:
        self._look(kind)
        return {"metadata": {"annotations": MARKS}}


def of(cluster: Any) -> dict[str, str]:
    return facts(cluster)


def test_a_cluster_is_told_by_its_nodes_and_definitions() -> None:
    assert of(Cluster()) == {
        "Kubernetes": "v1.36.0",
        "nodes": "2",
        "container runtime": "containerd://2.1",
        "kernel": "6.1",
        "node": "Debian 12",
        "CPUs per node": "2",
        **GATEWAY_API,
    }


def test_what_the_user_may_not_look_at_is_left_out() -> None:
    assert of(Cluster("Node")) == {"Kubernetes": "v1.36.0", **GATEWAY_API}
    assert of(Cluster("Node", "CustomResourceDefinition")) == {"Kubernetes": "v1.36.0"}
    with pytest.raises(ApiProblem):
        of(Cluster("Node", status=500))
