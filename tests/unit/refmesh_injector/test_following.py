from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from refmesh.injector.following import Following
from refmesh.injector.templates import FILE
from refmesh.kubeclient import Kube, KubeError, Page, WatchEvent

GOOD = "templates: {a: {spec: {hostname: x}}}"


def config_map(text: str) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "2"}, "data": {FILE: text}}


class Api:
    """An API server with one ConfigMap."""

    def __init__(self, items: list[dict[str, Any]] | None) -> None:
        self.items = items
        self.events: asyncio.Queue[WatchEvent] = asyncio.Queue()

    async def page(self, *_: Any, fields: str) -> Page:
        assert fields == "metadata.name=refmesh-injector-templates"
        if self.items is None:
            raise KubeError(403, "not allowed")
        return Page(self.items, "1")

    async def watch(self, *_: Any, fields: str) -> AsyncIterator[WatchEvent]:
        assert fields
        while True:
            yield await self.events.get()


async def test_an_edit_is_in_force_at_once_and_a_bad_one_is_not(caplog):
    api = Api([config_map(GOOD)])
    following = Following(cast("Kube", api), "refmesh-system")
    await following.start()
    assert set(following.templates.named) == {"a"}
    following.take(config_map("["))
    assert set(following.templates.named) == {"a"}
    assert "not valid YAML" in caplog.text
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
    await following.close()
