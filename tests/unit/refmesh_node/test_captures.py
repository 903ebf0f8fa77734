from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

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
        self.problems: list[str] = []
        self.more = asyncio.Event()
        self.sandbox("first")

    def sandbox(self, name: str) -> None:
        self.home = self.folder / name
        (self.home / "ns").mkdir(parents=True)
        (self.home / "ns" / "net").touch()

    def networks(self, uids: set[str]) -> dict[str, Network]:
        opened = os.open(self.home, os.O_RDONLY), os.open(self.home / "ns" / "net", os.O_RDONLY)
        return {uid: Network(*opened) for uid in uids}

    async def enter(self, network: Network, settings: dict[str, str]) -> str:
        assert os.fstat(network.namespace).st_ino == (self.home / "ns" / "net").stat().st_ino
        self.entered.append(settings)
        self.more.set()
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
