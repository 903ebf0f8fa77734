from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from fixtures.cluster.embedded import host, start
from fixtures.cluster.embedded.network import Addresses
from fixtures.cluster.embedded.plan import READY
from fixtures.cluster.embedded.site import Layout, Site
from reports.errors import EnvironmentProblem, MeshproofError


class Process:
    """Stands in for the process that holds the namespaces."""

    alive = True


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(start, "READY_SECONDS", 0.2)
    monkeypatch.setattr(start, "UNREACHABLE_SECONDS", 0.05)
    return Process()


@pytest.fixture
def readiness(process: Process, tmp_path: Path) -> start._Readiness:
    layout = Layout(tmp_path)
    layout.logs.mkdir()
    site = Site(
        name="one", layout=layout, addresses=Addresses(0), programs={}, cni=tmp_path, images=tmp_path, cgroup="g",
        cgroup_system=[],
    )  # fmt: skip
    stand_in: Any = process
    return start._Readiness(site, stand_in, 1, lambda _: None)


def refuse() -> bool:
    raise ConnectionRefusedError("refused")


def test_what_becomes_true_is_waited_for(readiness: start._Readiness) -> None:
    answers = iter([False, False, True])
    readiness._until("it", lambda: next(answers))


def test_what_does_not_become_ready_is_named_with_its_last_answer(readiness: start._Readiness) -> None:
    with pytest.raises(EnvironmentProblem, match=r"the thing of the cluster one is not ready after .* refused") as seen:
        readiness._until("the thing", refuse)
    assert "failed-clusters/one" in seen.value.fix


def test_a_cluster_that_ends_is_not_waited_for(readiness: start._Readiness, process: Process) -> None:
    process.alive = False
    with pytest.raises(MeshproofError, match="ended while it started"):
        readiness._until("it", refuse)


def test_a_node_that_only_we_cannot_reach_points_to_the_packet_filter(
    readiness: start._Readiness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "astray", lambda *_: "")
    (tmp_path / "logs" / "node.log").write_text(f"1.0 {READY} is there\n")
    with pytest.raises(EnvironmentProblem, match=r"works, but this machine cannot reach it at https://10\.213") as seen:
        readiness._until("the API server", refuse)
    assert "packet filter" in seen.value.fix


def test_a_node_to_which_another_table_has_the_route_points_to_that(
    readiness: start._Readiness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_ip", lambda *_: CompletedProcess((), 0, '[{"dev": "tailscale0", "table": "52"}]', ""))
    (tmp_path / "logs" / "node.log").write_text(f"1.0 {READY} is there\n")
    with pytest.raises(EnvironmentProblem, match=r"cannot reach it at .* table 52 sends it to tailscale0") as seen:
        readiness._until("the API server", refuse)
    assert "ip rule add to 10.213.0.0/16 lookup main" in seen.value.fix


def node(ready: str, *taints: str) -> dict[str, Any]:
    return {
        "spec": {"taints": [{"key": taint} for taint in taints]},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]},
    }


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (None, False), (node("False"), False), (node("True", "node.kubernetes.io/not-ready"), False),
        (node("True"), True), ({"spec": {}}, False),
    ],
)  # fmt: skip
def test_a_node_is_ready_when_pods_may_come(found: dict[str, Any] | None, ready: bool) -> None:
    class Api:
        def get(self, _: str) -> dict[str, Any] | None:
            return found

    stand_in: Any = Api()
    assert start._node_ready(stand_in, "one") is ready
