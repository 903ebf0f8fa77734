from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from refmesh.node import captures as module
from refmesh.node.captures import Captures
from refmesh.node.processes import Network
from refmesh.node.wanted import Wanted

POD = Wanted("u1", "shop/cart", {"REFMESH_EXCLUDE_INBOUND_PORTS": "9000"})


class Node:
    """Stands for /proc and for the process that goes into a network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entered: list[dict[str, str]] = []
        self.broken: set[str] = set()
        """Pods of which the first attempt fails, and further ones never end."""
        self.problems: list[str] = []
        self.more = asyncio.Event()
        self.sandbox("first")

    def sandbox(self, name: str) -> None:
        self.home = self.folder / name
        (self.home / "ns").mkdir(parents=True)
        (self.home / "ns" / "net").touch()

    def networks(self, uids: set[str]) -> dict[str, Network]:
        paths = self.home, self.home / "ns" / "net"
        return {uid: Network(*(os.open(path, os.O_RDONLY) for path in paths)) for uid in uids}

    async def enter(self, network: Network, settings: dict[str, str]) -> str:
        assert os.fstat(network.namespace).st_ino == (self.home / "ns" / "net").stat().st_ino
        self.entered.append(settings)
        self.more.set()
        if settings.get("pod") in self.broken:
            if self.entered.count(settings) > 1:
                await asyncio.Event().wait()
            return "no iptables"
        return self.problems.pop(0) if self.problems else ""

    async def until(self, times: int) -> None:
        async with asyncio.timeout(20):
            while len(self.entered) < times:
                self.more.clear()
                await self.more.wait()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(module, "networks", node.networks)
    monkeypatch.setattr(module, "_enter", node.enter)
    return node


@pytest_asyncio.fixture
async def captures(node: Node) -> AsyncIterator[Captures]:
    captures = Captures()
    task = asyncio.create_task(captures.run())
    yield captures
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_pod_is_captured_once_and_its_next_sandbox_again(node, captures):
    captures.put(POD)
    await node.until(1)
    captures.put(POD)
    node.sandbox("second")
    (node.folder / "first" / "ns" / "net").unlink()
    await node.until(2)
    assert node.entered == [POD.settings] * 2
    captures.drop("u1")
    captures.drop("u1")
    assert captures.known() == set()


async def test_a_failure_is_said_once_and_tried_again(node, captures, caplog):
    node.problems = ["no iptables", "no iptables"]
    captures.put(POD)
    await node.until(3)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "shop/cart cannot be captured: no iptables"
    ]
    captures.drop("u1")


def named(name: str) -> Wanted:
    return Wanted(name, f"shop/{name}", {"pod": name})


async def test_many_broken_pods_keep_nobody_waiting(node, captures):
    many = [f"broken-{number}" for number in range(40)]
    node.broken = set(many)
    for name in many:
        captures.put(named(name))
    await node.until(len(many) + 1)
    captures.put(named("honest"))
    async with asyncio.timeout(20):
        while {"pod": "honest"} not in node.entered:
            node.more.clear()
            await node.more.wait()


def test_after_each_failure_the_next_attempt_comes_later(monkeypatch):
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    one = module._Waiting(POD, 0.0)
    put_off = list[float]()
    for one.failures in range(1, 12):
        one.later()
        put_off.append(one.not_before - 1000.0)
    assert put_off == sorted(put_off)
    assert put_off[:4] == [0.25, 0.5, 1.0, 2.0]
    assert put_off[-1] == 60


async def test_a_network_is_looked_at_again_while_its_pod_waits(node, captures, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_SECONDS", (0.05, 0.05))
    captures.put(POD)
    await node.until(3)
    captures.drop("u1")


async def test_of_a_process_that_hangs_nothing_is_left():
    reading, writing = os.pipe()
    # Its child has both pipes as well.
    command = ["/bin/sh", "-c", "sleep 600 & sleep 600"]
    problem = await module._run(command, {"PATH": os.environ["PATH"]}, writing, 0.3)
    assert "within" in problem
    os.close(writing)
    async with asyncio.timeout(20):
        assert await asyncio.to_thread(os.read, reading, 1) == b""
    os.close(reading)


async def test_what_a_process_says_is_the_problem():
    reading, writing = os.pipe()
    command = [sys.executable, "-c", "import sys; sys.exit('not there')"]
    assert await module._run(command, {}, writing, 60) == "not there"
    assert await module._run([sys.executable, "-c", ""], {}, writing, 60) == ""
    os.close(reading)
    os.close(writing)
