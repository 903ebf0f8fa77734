"""What the page shows is what this replica knows, and it says of whom it does not."""

from __future__ import annotations

from refmesh.dashboard.sources import view_of
from refmesh.discovery.hub import Hub
from refmesh.discovery.stream import ProxyState
from refmesh.telemetry.collector import Collector
from tests.unit.refmesh_dashboard.test_server import a_pod
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.helpers import MemoryCluster


def test_proxies_of_other_replicas_are_counted_and_the_replicas_named() -> None:
    hub, authority = Hub(), TestAuthority()
    collector = Collector(tuple)
    view = view_of(hub, collector, authority)
    assert (view.proxies, view.replica, view.others, view.elsewhere) == ((), "", (), 0)
    hub.publish(MemoryCluster().with_echo().world())
    hub.streams["shop", "echo-v1"] = (ProxyState(), "ipv4:10.1.0.1:1")
    view = view_of(hub, collector, authority, "refmesh-a", lambda: [a_pod("refmesh-c"), a_pod("refmesh-b")])
    assert [proxy.name for proxy in view.proxies] == ["echo-v1.shop"]
    assert (view.replica, view.others, view.elsewhere) == ("refmesh-a", ("refmesh-b", "refmesh-c"), 1)
