"""Statuses of Gateway API are looked at when something that they say changed, and others have their turn meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from refmesh.config import status as statuses
from refmesh.config.model import Key
from refmesh.config.status import StatusWriter
from refmesh.kubeclient import Kube
from tests.unit.refmesh_discovery.helpers import MemoryCluster, endpoint_slice, pod
from tests.unit.refmesh_ingress.doorways import NAME, route, serving, with_gateway


class Statuses:
    """An API server that takes every status, and tells of it by the watch."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.written: list[str] = []

    async def patch(
        self, _api: str, plural: str, name: str, body: Any, _namespace: str, *, subresource: str
    ) -> dict[str, Any]:
        assert subresource == "status"
        self.written.append(f"{plural}/{name}")
        store = self.cluster.store
        kind, key = next(where for where in store.raw if where[1][1] == name and plural.startswith(where[0].lower()))
        store.put(kind, store.raw[kind, key] | {"status": body["status"]})
        return {}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the objects that were judged."""
    names, sound = list[str](), statuses.wanted_status

    def noting(snapshot: Any, kind: str, key: Key, raw: Any, now: str) -> Any:
        names.append(key[1])
        return sound(snapshot, kind, key, raw, now)

    monkeypatch.setattr(statuses, "wanted_status", noting)
    return names


async def test_what_only_endpoints_changed_of_is_not_looked_at_again(looked: list[str]) -> None:
    cluster = serving(with_gateway()).put("HTTPRoute", *(route(f"r{number}") for number in range(3)))
    api = Statuses(cluster)
    writer = StatusWriter(cast("Kube", api), lambda: cluster.store.raw)

    async def rounds() -> list[str]:
        looked.clear()
        for _ in range(2):
            writer.offer(cluster.snapshot())
            assert await writer._work()
        return sorted(set(looked))

    every = ["front", "r0", "r1", "r2", "refmesh"]
    assert await rounds() == every
    assert sorted(api.written) == ["gatewayclasses/refmesh", "gateways/front", *(f"httproutes/r{n}" for n in range(3))]
    assert await rounds() == []
    cluster.put("EndpointSlice", endpoint_slice("echo", [pod("echo-v1", "10.1.0.1")]))
    assert await rounds() == []
    cluster.put("HTTPRoute", cluster.store.raw["HTTPRoute", ("shop", "r1")] | {"status": {}})
    assert await rounds() == ["r1"]
    cluster.drop("EndpointSlice", f"{NAME}-x")
    assert await rounds() == every
    assert api.written[5:] == ["httproutes/r1", "gateways/front"]


async def test_others_have_their_turn_while_many_objects_are_looked_at(looked: list[str]) -> None:
    cluster = with_gateway().put("HTTPRoute", *(route(f"r{number}") for number in range(60)))
    for where, raw in cluster.store.raw.items():
        cluster.store.raw[where] = raw | {"status": statuses.wanted_status(cluster.snapshot(), *where, raw, "now")}
    looked.clear()
    writer = StatusWriter(cast("Kube", Statuses(cluster)), lambda: cluster.store.raw)
    writer.offer(cluster.snapshot())
    before = list[int]()

    async def another() -> None:
        while len(looked) < 62:
            before.append(len(looked))
            await asyncio.sleep(0)

    await asyncio.gather(writer._work(), another())
    assert len(before) >= 3
