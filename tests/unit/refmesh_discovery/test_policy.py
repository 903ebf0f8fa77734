"""Which mTLS mode wins."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.api.peer_authentication import MtlsMode
from refmesh.discovery.policy import MtlsPolicies, mode_in_force
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy

ROOT = "refmesh-system"


def peer(name: str, mode: str, namespace: str = "shop", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Any:
    return policy(name, {"mtls": {"mode": mode}, **spec}, namespace, created=created)


ECHO = {"matchLabels": {"app": "echo"}}


@pytest.mark.parametrize(
    ("policies", "port", "expected"),
    [
        ([], 8080, "PERMISSIVE"),
        ([peer("m", "STRICT", ROOT)], 8080, "STRICT"),
        ([peer("m", "STRICT", ROOT), peer("n", "DISABLE")], 8080, "DISABLE"),
        ([peer("m", "STRICT", ROOT), peer("n", "UNSET")], 8080, "STRICT"),
        ([peer("n", "STRICT"), peer("w", "PERMISSIVE", selector=ECHO)], 8080, "PERMISSIVE"),
        ([peer("n", "STRICT"), peer("w", "UNSET", selector=ECHO)], 8080, "STRICT"),
        ([peer("n", "STRICT"), peer("w", "DISABLE", selector={"matchLabels": {"app": "other"}})], 8080, "STRICT"),
        ([peer("w", "STRICT", selector=ECHO, portLevelMtls={"8080": {"mode": "DISABLE"}})], 8080, "DISABLE"),
        ([peer("w", "STRICT", selector=ECHO, portLevelMtls={"8080": {"mode": "DISABLE"}})], 9090, "STRICT"),
        ([peer("w", "STRICT", selector=ECHO, portLevelMtls={"8080": {"mode": "UNSET"}})], 8080, "STRICT"),
        ([peer("w", "DISABLE", selector=ECHO, portLevelMtls={"8080": {"mode": "STRICT"}})], None, "DISABLE"),
        ([peer("new", "DISABLE", created="2026-02-01T00:00:00Z"), peer("old", "STRICT")], 8080, "STRICT"),
        ([peer("elsewhere", "STRICT", "other")], 8080, "PERMISSIVE"),
        ([peer("root-workload", "STRICT", ROOT, selector=ECHO)], 8080, "PERMISSIVE"),
    ],
)
def test_the_narrower_and_older_wins(policies: list[Any], port: int | None, expected: str) -> None:
    snapshot = MemoryCluster().with_echo().put("PeerAuthentication", *policies).snapshot()
    assert not snapshot.rejected
    found = MtlsPolicies.collect(snapshot.peer_authentications.values(), ROOT)
    assert mode_in_force(found, snapshot.pods["shop", "echo-v1"], port) is MtlsMode(expected)
