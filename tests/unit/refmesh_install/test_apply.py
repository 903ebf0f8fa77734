"""Applying and waiting, against a real HTTP server that plays the API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from refmesh.errors import EnvironmentProblem
from refmesh.install.apply import apply, delete, wait_for, wait_gone
from refmesh.kubeclient import Kube
from tests.unit.refmesh_install.serving import client_of

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


class Api:
    """One namespace, and how often the server is busy first."""

    def __init__(self) -> None:
        self.busy = 0
        self.stored: dict[str, Any] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.busy:
            self.busy -= 1
            return web.json_response({"message": "storage is (re)initializing"}, status=429)
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            assert self.stored is not None
            changed = self.stored | {"status": {"phase": "Active"}}
            await response.write(json.dumps({"type": "MODIFIED", "object": changed}).encode() + b"\n")
            await response.write(json.dumps({"type": "DELETED", "object": changed}).encode() + b"\n")
            self.stored = None
            return response
        if request.method == "PATCH":
            assert request.query["fieldManager"] == "refmesh"
            self.stored = json.loads(await request.read())
            self.stored["metadata"]["resourceVersion"] = "7"
        if self.stored is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(self.stored)


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, Kube]]:
    playing = Api()
    async with client_of(playing.handle) as kube:
        yield playing, kube


async def test_a_busy_server_is_asked_again(api):
    playing, kube = api
    playing.busy = 2
    applied = await apply(kube, NAMESPACE)
    assert applied["metadata"]["name"] == "shop"
    assert playing.busy == 0


async def test_waiting_sees_changes_and_the_end(api):
    playing, kube = api
    await apply(kube, NAMESPACE)
    state = await wait_for(
        kube, NAMESPACE, lambda state: "status" in state, timeout=5, what="The namespace did not become active"
    )
    assert state["status"]["phase"] == "Active"
    await wait_gone(kube, NAMESPACE, timeout=5)
    assert playing.stored is None


async def test_waiting_in_vain_is_one_sentence(api):
    _, kube = api
    await apply(kube, NAMESPACE)
    with pytest.raises(EnvironmentProblem, match=r"The namespace did not become purple within 1 s"):
        await wait_for(kube, NAMESPACE, lambda _: False, timeout=1, what="The namespace did not become purple")


async def test_deleting_what_is_not_there_says_so(api):
    _, kube = api
    assert not await delete(kube, NAMESPACE)
