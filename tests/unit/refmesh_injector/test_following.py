from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from refmesh.injector.following import Following
from refmesh.injector.patch import warnings
from refmesh.injector.templates import FILE, BadTemplate
from refmesh.kubeclient import Kube, KubeError, Page, WatchEvent
from tests.unit.refmesh_injector.pods import pod

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
