"""A mesh that is installed without gateways leaves none of those that were there before."""

from __future__ import annotations

from typing import Any, cast

from refmesh.ingress.names import GATEWAY_LABEL
from refmesh.ingress.objects import CLASSIC
from refmesh.install import installer
from refmesh.kubeclient import Kube

OURS = {"app.kubernetes.io/managed-by": "refmesh"}
LABELS: dict[str, dict[str, str]] = {
    "front-refmesh": OURS | {GATEWAY_LABEL: "front"},
    CLASSIC: OURS | {"app": CLASSIC},
    "refmesh": OURS | {"app": "refmesh"},
    "theirs": {"app": CLASSIC, GATEWAY_LABEL: "front"},
}


class Cluster:
    """Has these objects of each kind, and notes what is deleted."""

    def __init__(self) -> None:
        self.deleted = list[str]()

    async def list(self, _api: str, _plural: str, selector: str) -> list[dict[str, Any]]:
        wanted = [one.partition("=") for one in selector.split(",")]
        return [
            {"metadata": {"name": name, "namespace": "shop"}}
            for name, labels in LABELS.items()
            if all(key in labels and (not equals or labels[key] == value) for key, equals, value in wanted)
        ]

    async def request(self, method: str, path: str, _: Any) -> None:
        assert method == "DELETE"
        self.deleted.append(path)


async def test_workloads_of_gateways_and_their_class_go_and_nothing_else() -> None:
    cluster = Cluster()
    assert await installer._close_gateways(cast("Kube", cluster)) == 2
    kinds = ("/api/v1/{}/services/", "/apis/apps/v1/{}/deployments/", "/api/v1/{}/serviceaccounts/")
    made = {kind.format("namespaces/shop") + name for kind in kinds for name in ("front-refmesh", CLASSIC)}
    assert set(cluster.deleted) == {*made, "/apis/gateway.networking.k8s.io/v1/gatewayclasses/refmesh"}
