"""A folder of plain files stands for /proc: a namespace is a file, and those who share it have links to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from refmesh.node.processes import networks

A, B = "7cd99c1e-a7e4-4227-b8a4-23491c5f23e0", "11111111-2222-3333-4444-555555555555"
Start = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/\n")
    (tmp_path / "networks").mkdir()

    def start(pid: int, network: str, *, uid: str = "", age: int = 0, name: str = "pause") -> None:
        folder = tmp_path / str(pid)
        (folder / "ns").mkdir(parents=True)
        path = f"/../../kubepods/burstable/pod{uid}/x" if uid else "/../../system.slice"
        (folder / "cgroup").write_text(f"0::{path}\n")
        (folder / "stat").write_text(f"{pid} ({name}) S {' '.join(['0'] * 18)} {age} 0 0\n")
        shared = tmp_path / "networks" / network
        shared.touch()
        (folder / "ns" / "net").hardlink_to(shared)

    return start


def found(proc: Path, *uids: str) -> dict[str, str]:
    """The names of the networks that are found."""
    by_inode = {path.stat().st_ino: path.name for path in (proc / "networks").iterdir()}
    result = {}
    for uid, network in networks(uids, proc).items():
        result[uid] = by_inode[os.fstat(network.namespace).st_ino]
        network.close()
    return result


def test_each_pod_has_its_own(start, tmp_path):
    start(1, "node")
    start(10, "a", uid=A)
    start(11, "a", uid=A, age=5)
    start(20, "b", uid=B)
    assert found(tmp_path, A, B) == {A: "a", B: "b"}
    assert found(tmp_path, A) == {A: "a"}
    assert found(tmp_path, "cccccccc-2222-3333-4444-555555555555") == {}


def test_a_network_that_others_are_in_is_nobodys(start, tmp_path):
    """A container that is just being started is in its pod's group and still in the node's network."""
    start(1, "node")
    start(10, "node", uid=A)
    start(20, "b", uid=B)
    start(21, "b", uid=A, age=1)
    assert found(tmp_path, A, B) == {}
    assert found(tmp_path, B) == {}


def test_the_oldest_processs_counts_not_one_that_a_container_made(start, tmp_path):
    start(10, "nested", uid=A, age=9, name="x) S 1 (")
    start(11, "a", uid=A, age=3)
    start(12, "node", uid=A, age=1)  # the monitor of CRI-O: in the pod's group, in the node's network
    start(1, "node")
    assert found(tmp_path, A) == {A: "a"}


def test_a_process_that_has_ended_is_passed_over(start, tmp_path):
    start(10, "a", uid=A)
    (tmp_path / "11").mkdir()  # nothing in it can be read
    start(12, "gone", uid=A)
    (tmp_path / "12" / "ns" / "net").unlink()  # a zombie has no network
    assert found(tmp_path, A) == {A: "a"}


def test_a_network_is_followed_by_its_process(start, tmp_path):
    start(10, "a", uid=A)
    network = networks({A}, tmp_path)[A]
    assert network.alive()
    (tmp_path / "10" / "ns" / "net").unlink()
    assert not network.alive()
    network.close()
