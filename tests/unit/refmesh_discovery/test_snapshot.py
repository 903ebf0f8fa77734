"""What a snapshot tells at once."""

from __future__ import annotations

from tests.unit.refmesh_discovery.helpers import MemoryCluster, pod


def test_who_speaks_from_an_address_is_the_meshed_pod_there() -> None:
    meshed, plain = pod("meshed", "10.1.0.1"), pod("plain", "10.1.0.2", meshed=False)
    snapshot = MemoryCluster().put("Pod", meshed, plain, pod("early", "")).snapshot()
    assert {address: one.name for address, one in snapshot.meshed_by_address.items()} == {"10.1.0.1": "meshed"}
