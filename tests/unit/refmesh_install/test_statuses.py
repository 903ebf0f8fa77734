"""Of a mesh that is gone no status says any more that something is in force."""

from __future__ import annotations

import asyncio
from typing import Any

from refmesh.install.statuses import forget_statuses
from refmesh.kubeclient import Kube
from tests.unit.refmesh_discovery.apiserver import ApiServer

PATH = "/apis/networking.istio.io/v1/virtualservices"


def written(name: str, *types: str) -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True"} for kind in types]
    status = {"observedGeneration": 1, "conditions": conditions, "validationMessages": []}
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": "9"}, "status": status}


def test_what_refmesh_said_is_taken_back_and_nothing_else() -> None:
    async def story() -> None:
        async with ApiServer().serving() as server:
            server.items[PATH] = [written("ours", "Accepted", "PassedAnalysis", "Theirs"), written("theirs", "Theirs")]
            server.missing.add("/apis/telemetry.istio.io/v1/telemetries")
            kube, said = Kube(server.url, None), list[str]()
            await forget_statuses(kube, said.append)
            ((path, body),) = server.patches
            assert path == "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/ours/status"
            assert body["status"]["conditions"] == [{"type": "Theirs", "status": "True"}]
            assert body["status"]["observedGeneration"] is None
            assert said == []
            await kube.close()

    asyncio.run(story())
