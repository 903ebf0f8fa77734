from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from typing import Any, cast

from refmesh.kubeclient import Kube, Page, WatchEvent
from refmesh.node.__main__ import Agent
from refmesh.node.captures import Captures
from tests.unit.refmesh_node.test_wanted import injected


class Listed(dict[str, Any]):
    """A pod that can be missed."""


class Api:
    """Has one page of pods; what comes later is put in `events`."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods: list[dict[str, Any]] = [Listed(pod) for pod in pods]
        self.seen = [weakref.ref(cast("Listed", pod)) for pod in self.pods]
        self.events: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self.fields = list[str]()
        self.watched = asyncio.Event()

    async def page(self, *_: Any, selector: str, fields: str) -> Page:
        assert selector
        self.fields.append(fields)
        pods, self.pods = self.pods, []
        return Page(pods, "1")

    async def watch(self, *_: Any, selector: str, fields: str) -> AsyncIterator[WatchEvent]:
        assert selector
        self.fields.append(fields)
        self.watched.set()
        while True:
            yield await self.events.get()


def broken() -> dict[str, Any]:
    found: dict[str, Any] = injected()
    found["spec"]["initContainers"][0]["env"].append({"name": "REFMESH_EXCLUDE_INBOUND_PORTS", "value": "http"})
    return found


async def test_only_pods_that_can_wait_are_asked_for_and_none_is_kept():
    api, captures = Api(injected()), Captures()
    task = asyncio.create_task(Agent(cast("Kube", api), "n1", captures).follow())
    async with asyncio.timeout(20):
        await api.watched.wait()
    assert captures.known() == {"u"}
    assert set(api.fields) == {"spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed"}
    assert [ref() for ref in api.seen] == [None]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_a_pod_that_waits_in_vain_is_told_once(caplog):
    captures = Captures()
    agent = Agent(cast("Kube", None), "n1", captures)
    for _ in range(3):
        assert not agent.put(broken())
        agent.replace([broken()])
    (told,) = (record.message for record in caplog.records)
    assert told == "shop/cart cannot be captured: 'http' is not a port number"
    assert captures.known() == set()
    agent.forget("u")
    agent.put(broken())
    assert len(caplog.records) == 2
