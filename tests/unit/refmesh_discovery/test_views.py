"""Services that every Node sees otherwise: what proxies get, and that it costs their own endpoints and no others."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.locality import REGION, ZONE, Locality, LocalitySetting
from refmesh.discovery import difference
from refmesh.discovery.endpoints import Address
from refmesh.discovery.locality import Host, Plan, Viewpoint, assignment
from refmesh.discovery.overlay import Overlay
from refmesh.discovery.resource import Encoded, ResourceType, Table
from refmesh.discovery.stream import ProxyState
from refmesh.discovery.world import World
from tests.unit.refmesh_discovery.helpers import MemoryCluster, endpoint_slice, message_of, pod, policy, service
from tests.unit.refmesh_discovery.test_costs import counting
from tests.unit.refmesh_discovery.test_locality import encoded

E = ResourceType.ENDPOINT
PORTS: dict[str, tuple[int, int | str]] = {"http": (80, 8080)}
NODES = 100
"""More than the differences that are kept for tables that everybody shares."""
WORDS = st.sampled_from(["", "a", "b", "c"])


def cluster_of(name: str) -> str:
    return f"outbound|80||{name}.shop.svc.cluster.local"


class Fleet:
    """A cluster with a client on every Node, a Service that all see alike, and one that says what its spec says."""

    def __init__(self, *hosts: int, **spec: Any) -> None:
        """`hosts`: the Nodes with a pod of the second Service."""
        self.cluster = MemoryCluster()
        self.clients = [f"client-{n}" for n in range(NODES)]
        for n, name in enumerate(self.clients):
            labels = {REGION: "r", ZONE: "ab"[n % 2]}
            self.cluster.put("Node", {"metadata": {"name": f"n{n}", "labels": labels}})
            self.cluster.put("Pod", pod(name, f"10.3.0.{n}", app="client", node=f"n{n}"))
        self.quiet = [pod("quiet-0", "10.4.0.1"), pod("quiet-1", "10.4.0.2")]
        self.hosts = {n: pod(f"own-{n}", f"10.5.0.{n}", node=f"n{n}") for n in hosts}
        self.cluster.put("Pod", *self.quiet, *self.hosts.values())
        asking = service("own", "10.0.0.2", ports=PORTS)
        asking["spec"] |= spec
        self.cluster.put("Service", asking, service("quiet", "10.0.0.3", ports=PORTS))
        self.ready("quiet", self.quiet).ready("own", list(self.hosts.values()))

    def ready(self, name: str, pods: list[dict[str, Any]]) -> Fleet:
        self.cluster.put("EndpointSlice", endpoint_slice(name, pods, ports={"http": 8080}))
        return self

    def tables(self) -> list[Table]:
        world = self.cluster.world()
        return [table_of(world, name) for name in self.clients]


def table_of(world: World, client: str) -> Table:
    return world.tables_of(world.snapshot.pods["shop", client])[E]


def addresses(item: Encoded) -> list[str]:
    parts = message_of(item, E).endpoints
    return sorted(one.endpoint.address.socket_address.address for part in parts for one in part.lb_endpoints)


LOCAL = {"internalTrafficPolicy": "Local"}
SAME_NODE = {"trafficDistribution": "PreferSameNode"}


@pytest.mark.parametrize("spec", [LOCAL, SAME_NODE])
def test_a_table_for_a_node_has_the_endpoints_that_count_nodes_and_no_others(spec: dict[str, str]) -> None:
    fleet = Fleet(*range(NODES), **spec)
    world = fleet.cluster.world()
    for n, name in enumerate(fleet.clients):
        table = table_of(world, name)
        assert isinstance(table, Overlay)
        assert table.below is world.shared[E]
        assert set(table.over) == {cluster_of("own")}
        assert set(table) == set(world.shared[E])
        if spec is LOCAL:
            assert addresses(table[cluster_of("own")]) == [f"10.5.0.{n}"]


@pytest.mark.parametrize("spec", [LOCAL, SAME_NODE])
def test_a_change_that_no_node_sees_otherwise_is_worked_out_once_for_all(
    spec: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(*range(NODES), **spec)
    before = fleet.tables()
    after = fleet.ready("quiet", fleet.quiet[:1]).tables()
    compared = counting(monkeypatch, difference, "difference")
    overlaid = counting(monkeypatch, difference, "_overlaid")
    for _ in range(3):  # proxies on a Node ask the same
        for old, new in zip(before, after, strict=True):
            assert [set(part) for part in difference.changes(old, new)] == [{cluster_of("quiet")}, set()]
    assert compared() == 1
    assert overlaid() == NODES


def test_nodes_share_a_table_of_their_zone_below() -> None:
    fleet = Fleet(*range(NODES), **LOCAL)
    ejecting: dict[str, Any] = {"host": "quiet", "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 1}}}
    fleet.cluster.put("DestinationRule", policy("quiet", ejecting))
    fleet.quiet[0]["spec"]["nodeName"], fleet.quiet[1]["spec"]["nodeName"] = "n0", "n1"
    fleet.cluster.put("Pod", *fleet.quiet)
    tables = fleet.tables()
    assert all(isinstance(table, Overlay) and set(table.over) == {cluster_of("own")} for table in tables)
    below = {id(table.below): table.below for table in tables if isinstance(table, Overlay)}
    assert len(below) == 2
    assert all(isinstance(table, Overlay) and set(table.over) == {cluster_of("quiet")} for table in below.values())


def test_only_the_node_whose_endpoint_changed_is_told_and_has_it_made_anew() -> None:
    fleet = Fleet(*range(NODES), **LOCAL)
    before = fleet.tables()
    made = encoded()
    after = fleet.ready("own", [host for n, host in fleet.hosts.items() if n != 7]).tables()
    told = [n for n in range(NODES) if difference.changes(before[n], after[n])[0]]
    assert told == [7]
    assert addresses(after[7][cluster_of("own")]) == []
    assert encoded() - made <= 2  # that of the Node, and that of who is nowhere


def test_nodes_without_a_host_see_the_same() -> None:
    world = (fleet := Fleet(3, 4, **LOCAL)).cluster.world()
    shared = world.shared[E]
    assert [n for n in range(NODES) if table_of(world, f"client-{n}") is not shared] == [3, 4]
    before = encoded()
    tables = Fleet(3, 4, 5, 6, **SAME_NODE).tables()
    found = {table[cluster_of("own")].version for table in tables}
    assert len(found) == 4 + 2  # the Nodes with hosts, and the rest of either zone
    assert encoded() - before == 2 + 6  # two Services as they are from nowhere, and those
    assert fleet.tables()[5] is world.shared[E]


def test_a_proxy_is_sent_what_changed_for_its_node_only() -> None:
    fleet = Fleet(*range(3), **LOCAL)
    names = [cluster_of("own"), cluster_of("quiet")]
    proxies = [ProxyState() for _ in range(4)]

    def sent(proxy: ProxyState, world: World, number: int) -> dict[str, list[str]]:
        place = world.snapshot.pods["shop", f"client-{number}"]
        proxy.offer(world.tables_of(place), world.own(place))
        found: dict[str, list[str]] = {}
        for response in proxy.responses(0.0):
            found |= {item.name: addresses(item) for item in response.resources}
            proxy.request(DeltaDiscoveryRequest(type_url=E.value, response_nonce=response.nonce))
        assert proxy.in_step
        return found

    for proxy in proxies:
        proxy.request(DeltaDiscoveryRequest(type_url=E.value, resource_names_subscribe=names))
    own, quiet = names
    both = ["10.4.0.1", "10.4.0.2"]
    first = [sent(proxy, fleet.cluster.world(), n) for n, proxy in enumerate(proxies)]
    assert first == [{own: [f"10.5.0.{n}"], quiet: both} for n in range(3)] + [{own: [], quiet: both}]
    changed = fleet.ready("own", [fleet.hosts[0], fleet.hosts[2]]).cluster.world()
    assert [sent(proxy, changed, n) for n, proxy in enumerate(proxies)] == [{}, {own: []}, {}, {}]
    changed = fleet.ready("quiet", fleet.quiet[1:]).cluster.world()
    assert [sent(proxy, changed, n) for n, proxy in enumerate(proxies)] == [{quiet: ["10.4.0.2"]}] * 4
    everywhere = service("own", "10.0.0.2", ports=PORTS)
    changed = fleet.cluster.put("Service", everywhere).world()
    assert [sent(proxy, changed, n) for n, proxy in enumerate(proxies)] == [{own: ["10.5.0.0", "10.5.0.2"]}] * 4


@st.composite
def layered(draw: st.DrawFn) -> Table:
    rows = st.dictionaries(WORDS, st.integers(0, 2), max_size=4)
    table: Table = {name: Encoded(name, str(version), b"") for name, version in draw(rows).items()}
    for _ in range(draw(st.integers(0, 2))):
        over = {name: Encoded(name, str(version), b"") for name, version in draw(rows).items() if name in table}
        table = Overlay(table, over)
    return table


@given(layered(), layered())
def test_overlays_differ_as_the_tables_that_they_stand_for(old: Table, new: Table) -> None:
    for _ in range(2):  # asked again it is remembered
        assert difference.changes(old, new) == difference.difference(dict(old), dict(new))


@st.composite
def plans_with_nodes(draw: st.DrawFn) -> Plan:
    priority = draw(st.sampled_from([(), ("kubernetes.io/hostname",), ("tier", "tier=a", "kubernetes.io/hostname")]))
    found = []
    for n in range(draw(st.integers(0, 6))):
        node, tier = draw(WORDS), draw(WORDS)
        known = {"kubernetes.io/hostname": node, "tier": tier, "tier=a": tier}
        labels = tuple(known[entry] for entry in priority)
        found.append(Host(Address(f"10.0.0.{n}", 80), Locality(draw(WORDS)), labels, node))
    enabled = draw(st.booleans())
    return Plan(LocalitySetting(enabled=enabled, priority=priority), tuple(found), draw(st.booleans()))


@given(plans_with_nodes(), WORDS, WORDS, WORDS)
def test_what_does_not_tell_nodes_apart_changes_nothing(plan: Plan, region: str, node: str, tier: str) -> None:
    labels = (("kubernetes.io/hostname", node), ("tier", tier))
    view = Viewpoint(Locality(region), tuple(label for label in labels if label[1]))
    reduced = plan.reduced(view)
    assert plan.reduced(reduced) == reduced
    assert assignment("c", plan, reduced) == assignment("c", plan, view)
    there = [host.address.host for host in plan.hosts if not plan.node_local or (node and host.node == node)]
    found = [item for part in assignment("c", plan, view).endpoints for item in part.lb_endpoints]
    assert sorted(item.endpoint.address.socket_address.address for item in found) == sorted(there)
