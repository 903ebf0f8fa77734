from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from refmesh.injector.following import Following
from refmesh.injector.patch import warnings
from refmesh.injector.templates import FILE, BadTemplate
from refmesh.kubeclient import Expired, Kube, KubeError, Page, WatchEvent
from tests.unit.refmesh_injector.pods import pod

GOOD = "templates: {a: {spec: {hostname: x}}}"


def config_map(text: str) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "2"}, "data": {FILE: text}}


class Api:
    """An API server with one ConfigMap."""

    def __init__(self, items: list[dict[str, Any]] | None) -> None:
        self.items = items
        self.events: asyncio.Queue[WatchEvent | KubeError] = asyncio.Queue()

    async def page(self, *_: Any, fields: str) -> Page:
        assert fields == "metadata.name=refmesh-injector-templates"
        if self.items is None:
            raise KubeError(403, "not allowed")
        return Page(self.items, "1")

    async def watch(self, *_: Any, selector: str, fields: str) -> AsyncIterator[WatchEvent]:
        assert (selector, fields) == ("", "metadata.name=refmesh-injector-templates")
        while True:
            event = await self.events.get()
            if isinstance(event, KubeError):
                raise event
            yield event


async def test_an_edit_is_in_force_at_once_and_a_bad_one_is_not(caplog):
    api = Api([config_map(GOOD)])
    following = Following(cast("Kube", api), "refmesh-system")
    await following.start()
    assert set(following.templates.named) == {"a"}
    following.take(config_map("["))
    assert set(following.templates.named) == {"a"}
    assert "not valid YAML" in caplog.text
    assert "cannot be read: not valid YAML" in warnings(pod(), following.templates)[0]
    following.take(config_map("templates: {a: {x: 1}, b: {}}"))
    assert set(following.templates.named) == {"b"}
    assert set(following.templates.bad) == {"a"}
    following.take(None)
    assert not following.templates.named
    await following.close()


async def test_without_its_templates_the_injector_starts(caplog):
    following = Following(cast("Kube", Api(None)), "refmesh-system")
    await following.start()
    assert not following.templates.named
    assert "cannot be read: not allowed" in caplog.text
    assert "cannot be read: not allowed" in warnings(pod(), following.templates)[0]
    await following.close()


async def test_pods_are_told_of_a_file_that_cannot_be_read_from_the_start():
    following = Following(cast("Kube", Api([config_map("[")])), "refmesh-system")
    await following.start()
    (told,) = warnings(pod(), following.templates)
    assert "cannot be read: not valid YAML" in told
    with pytest.raises(BadTemplate, match="templates cannot be read"):
        following.templates.chosen({"inject.istio.io/templates": "sidecar,a"})
    following.take(config_map(GOOD))
    assert warnings(pod(), following.templates) == []
    await following.close()


async def test_events_are_followed_and_what_a_lost_watch_missed_is_listed(monkeypatch):
    monkeypatch.setattr("refmesh.injector.following._RETRY_SECONDS", 0.0)
    seen: asyncio.Queue[set[str]] = asyncio.Queue()

    class Watching(Following):
        def take(self, found: dict[str, Any] | None) -> None:
            super().take(found)
            seen.put_nowait(set(self.templates.named))

    api = Api([])
    following = Watching(cast("Kube", api), "refmesh-system")
    await following.start()
    assert await seen.get() == set()
    api.items = [config_map(GOOD)]
    for event in (
        WatchEvent("ADDED", config_map(GOOD)),
        WatchEvent("BOOKMARK", config_map("")),
        WatchEvent("DELETED", config_map(GOOD)),
        Expired(410, "too old"),
        WatchEvent("DELETED", config_map(GOOD)),
        KubeError(500, "cut"),
    ):
        api.events.put_nowait(event)
    async with asyncio.timeout(20):
        assert [await seen.get() for _ in range(5)] == [{"a"}, set(), {"a"}, set(), {"a"}]
    await following.close()
