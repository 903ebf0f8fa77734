from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from conformance.adapters import load
from conformance.checks.handshakes import to_proxy
from conformance.context import Context, Pod
from fixtures.workloads.traffic import Batch

POD = Pod("server", "shop", "10.0.0.9", {"spec": {"serviceAccountName": "till"}})
BARE = Batch(url="tls://10.0.0.9:8080", protocol="tls")


def offered(mesh: str, batch: Batch = BARE) -> Batch:
    return to_proxy(cast("Context", SimpleNamespace(adapter=load(mesh))), POD, batch)


def test_a_handshake_bears_the_marks_by_which_each_mesh_knows_its_own():
    assert offered("istio").alpn == ("istio",)
    assert offered("kuma").alpn == ("kuma",)
    assert offered("linkerd").sni == "till.shop.serviceaccount.identity.linkerd.cluster.local"
    assert offered("refmesh") == offered("none") == offered("cilium") == BARE


def test_requests_still_offer_their_own_protocol():
    assert offered("istio", Batch(url="https://10.0.0.9:8080/")).alpn == ("istio", "http/1.1")
