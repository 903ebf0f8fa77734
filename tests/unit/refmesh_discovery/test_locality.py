"""Places from the objects to what Envoy is told: who prefers whom, who shares what, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh import defects
from refmesh.api.fields import Field, Invalid
from refmesh.api.locality import REGION, SUBZONE, ZONE, Distribution, Locality, LocalitySetting, read
from refmesh.discovery import locality
from refmesh.discovery.endpoints import Address
from refmesh.discovery.locality import NOWHERE, Host, Plan, Viewpoint, assignment, rank, weights
from refmesh.discovery.resource import ResourceType
from refmesh.telemetry import metrics
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, endpoint_slice, pod, policy, service

CLUSTER = "outbound|80||echo.shop.svc.cluster.local"
EJECTS = {"outlierDetection": {"consecutive5xxErrors": 1}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"enabled": "yes"}, "enabled: must be true or false"),
        ({"everywhere": True}, "everywhere: is not supported"),
        ({"failover": [{"from": "a", "to": "b"}], "failoverPriority": ["x"]}, "failoverPriority: cannot be combined"),
        ({"failover": [{"from": "a", "to": "a"}]}, "failover[0].to: must be another region"),
        ({"failover": [{"from": "a/b", "to": "c"}]}, "failover[0].from: must be the name of a region"),
        ({"failoverPriority": [f"l{n}" for n in range(9)]}, "failoverPriority: must have 8 labels at most"),
        ({"failoverPriority": ["=v1"]}, "failoverPriority[0]: must be a label"),
        ({"distribute": [{"from": "a", "to": {"a": 60, "b": 30}}]}, "distribute[0].to: weights must sum up to 100"),
        ({"distribute": [{"from": "a", "to": {"a": 100, "b": 0}}]}, "to['b']: must be between 1 and 100"),
        ({"distribute": [{"from": "a/b/c/d", "to": {"a": 100}}]}, "from: must be region/zone/subzone"),
        ({"distribute": [{"from": "a", "to": {"a//c": 100}}]}, "to['a//c']: must be region/zone/subzone"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_path(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(Field(content, "localityLbSetting"))
    assert sentence in str(caught.value)


def test_the_whole_block() -> None:
    shares = [{"from": "r/a/*", "to": {"r/a": 80, "*": 20}}]
    found = read(Field({"distribute": shares, "enabled": False}, ""))
    there = ((Locality("r", "a"), 80), (Locality(), 20))
    assert found == LocalitySetting(enabled=False, distribute=(Distribution(Locality("r", "a"), there),))
    assert read(Field(None, "")) is None


NAMES = st.sampled_from(["", "a", "b"])
PLACES = st.builds(Locality, NAMES, NAMES, NAMES)
VIEWS = st.builds(Viewpoint, PLACES, st.tuples(st.tuples(st.just("tier"), NAMES)))
SETTINGS = st.sampled_from(
    [
        LocalitySetting(),
        LocalitySetting(failover=(("a", "b"),)),
        LocalitySetting(priority=("tier", "side=a")),
        LocalitySetting(distribute=(Distribution(Locality("a"), ((Locality("a", "a"), 70), (Locality(), 30))),)),
    ]
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    setting = draw(SETTINGS)
    labels = st.tuples(*(NAMES for _ in setting.priority))
    hosts = draw(st.lists(st.tuples(PLACES, labels), max_size=8))
    return Plan(setting, tuple(Host(Address(f"10.0.0.{n}", 80), *one) for n, one in enumerate(hosts)))


@given(plans(), VIEWS)
def test_each_host_has_one_priority_and_closer_ones_come_first(plan: Plan, view: Viewpoint) -> None:
    found = assignment("c", plan, view)
    by_address = {host.address[0]: host for host in plan.hosts}
    seen = [
        (part.priority, by_address[item.endpoint.address.socket_address.address])
        for part in found.endpoints
        for item in part.lb_endpoints
    ]
    assert all(part.lb_endpoints for part in found.endpoints)
    assert len(seen) == len({host.address for _, host in seen}) == len(plan.hosts)
    assert {priority for priority, _ in seen} == set(range(len({priority for priority, _ in seen})))
    if plan.setting.distribute:
        assert {priority for priority, _ in seen} <= {0}
        assert all(part.load_balancing_weight.value > 0 for part in found.endpoints)
        return
    for (one, near), (other, far) in pairwise(sorted(seen, key=lambda item: rank(plan.setting, item[1], view))):
        assert (one == other) == (rank(plan.setting, near, view) == rank(plan.setting, far, view))
        assert one <= other


@given(plans(), VIEWS)
def test_what_does_not_count_of_a_viewpoint_changes_nothing(plan: Plan, view: Viewpoint) -> None:
    assert assignment("c", plan, plan.reduced(view)) == assignment("c", plan, view)


HERE = Viewpoint(Locality("r1", "a", "x"))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (("r1", "a", "x"), 0),
        (("r1", "a", "y"), 1),
        (("r1", "b", "x"), 2),
        (("r2", "a", "x"), 3),
        (("r3", "a", "x"), 4),
        (("", "", ""), 4),
    ],
)
def test_closeness_and_the_region_that_stands_in(place: tuple[str, str, str], expected: int) -> None:
    host = Host(Address("10.0.0.1", 80), Locality(*place))
    assert rank(LocalitySetting(failover=(("r1", "r2"),)), host, HERE) == expected
    assert rank(LocalitySetting(), host, HERE) == min(3, expected)
    assert rank(LocalitySetting(), host, NOWHERE) == 0


def test_shares_of_places() -> None:
    shares = ((Locality("r1"), 20), (Locality("r1", "a"), 70), (Locality("r2"), 10))
    setting = LocalitySetting(distribute=(Distribution(Locality("r1", "a"), shares),))
    places = [("r1", "a"), ("r1", "b"), ("r1", "c"), ("r1", "c"), ("r1", "c"), ("r3", "a")]
    plan = Plan(setting, tuple(Host(Address("", n), Locality(*place)) for n, place in enumerate(places)))
    assert weights(plan, HERE) == {Locality("r1", "a"): 70_000, Locality("r1", "b"): 5_000, Locality("r1", "c"): 15_000}
    assert weights(plan, NOWHERE)[Locality("r1", "c")] == 3  # nothing is said of it: all hosts alike
    assert {part.locality.region for part in assignment("c", plan, HERE).endpoints} == {"r1"}


def test_a_place_weighs_what_its_hosts_weigh() -> None:
    setting = LocalitySetting(distribute=(Distribution(Locality("r1"), ((Locality("r1"), 80), (Locality("r2"), 20))),))
    hosts = [(("r1", "a"), 90), (("r1", "b"), 0), (("r1", "b"), 9), (("r2", "a"), 5)]
    plan = Plan(setting, tuple(Host(Address("", n, weight=w), Locality(*place)) for n, (place, w) in enumerate(hosts)))
    here, near, far = Locality("r1", "a"), Locality("r1", "b"), Locality("r2", "a")
    assert weights(plan, HERE) == {here: 72_000, near: 8_000, far: 20_000}
    assert weights(plan, NOWHERE) == {here: 90, near: 10, far: 5}


# -- from objects to what proxies get ----------------------------------------------------------------------------------

ZONES = {"a": ("near", "client", "twin"), "b": ("far",)}


def zoned(traffic: dict[str, Any], namespace: str = "shop") -> MemoryCluster:
    """A service with a host in each of two zones, by their Nodes, and clients in one of them and elsewhere."""
    cluster = MemoryCluster()
    pods = {
        name: pod(name, f"10.1.{zone == 'a':d}.{n}", node=f"node-{zone}")
        for zone, names in ZONES.items()
        for n, name in enumerate(names)
    }
    for zone in ZONES:
        labels = {REGION: "r", ZONE: zone, SUBZONE: "s"}
        cluster.put("Node", {"metadata": {"name": f"node-{zone}", "labels": labels}})
    lost = pod("lost", "10.1.9.1", node="unlabelled")
    cluster.put("Pod", *pods.values(), lost, pod("gate", "10.1.9.2", namespace="other", node="node-a"))
    cluster.put("Service", service("echo")).put("EndpointSlice", endpoint_slice("echo", [pods["near"], pods["far"]]))
    rule = {"host": "echo.shop.svc.cluster.local", "trafficPolicy": traffic}
    return cluster.put("DestinationRule", policy("echo", rule, namespace))


def seen(cluster: MemoryCluster, name: str, namespace: str = "shop") -> list[list[str]]:
    """The addresses that a pod's proxy is given, by priority."""
    found = all_messages(cluster.world(), (namespace, name), ResourceType.ENDPOINT)[CLUSTER]
    by_priority: dict[int, list[str]] = {}
    for part in found.endpoints:
        addresses = [item.endpoint.address.socket_address.address for item in part.lb_endpoints]
        by_priority.setdefault(part.priority, []).extend(addresses)
    return [sorted(by_priority[number]) for number in sorted(by_priority)]


NEAR, FAR = "10.1.1.0", "10.1.0.0"


def test_each_zone_prefers_its_own_hosts() -> None:
    cluster = zoned(EJECTS)
    assert seen(cluster, "client") == [[NEAR], [FAR]]
    assert seen(cluster, "far") == [[FAR], [NEAR]]
    assert seen(cluster, "lost") == [[FAR, NEAR]]
    assert seen(cluster, "gate", "other") == [[NEAR], [FAR]]


def test_a_pods_label_wins_over_its_node() -> None:
    cluster = zoned(EJECTS)
    cluster.put("Pod", pod("client", "10.1.1.1", node="node-a", labels={"istio-locality": "r.b.s"}))
    assert seen(cluster, "client") == [[FAR], [NEAR]]


def test_a_node_that_moves_takes_its_pods_along() -> None:
    cluster = zoned(EJECTS)
    assert seen(cluster, "client") == [[NEAR], [FAR]]
    cluster.put("Node", {"metadata": {"name": "node-b", "labels": {REGION: "r", ZONE: "a", SUBZONE: "s"}}})
    assert seen(cluster, "client") == [[FAR, NEAR]]
    cluster.store.drop("Node", ("", "node-a"))
    assert seen(cluster, "client") == [[FAR, NEAR]]  # nothing is known of it any more
    assert seen(cluster, "far") == [[FAR], [NEAR]]


@pytest.mark.parametrize(
    "traffic",
    [
        {},
        {"loadBalancer": {"localityLbSetting": {"enabled": True}}},  # nothing would ever count as gone
        {**EJECTS, "loadBalancer": {"localityLbSetting": {"enabled": False}}},
    ],
)
def test_nobody_prefers_anybody(traffic: dict[str, Any]) -> None:
    cluster = zoned(traffic)
    assert seen(cluster, "client") == [[FAR, NEAR]]
    world = cluster.world()
    assert world.endpoints(world.snapshot.pods["shop", "client"]) is None


def asking(cluster: MemoryCluster, **spec: Any) -> MemoryCluster:
    """The same with a Service that asks for something."""
    made = service("echo")
    made["spec"] |= spec
    return cluster.put("Service", made)


@pytest.mark.parametrize("word", ["PreferClose", "PreferSameZone", "PreferSameNode"])
def test_a_service_s_distribution_needs_no_ejection_and_a_rule_s_word_goes_over_it(word: str) -> None:
    cluster = asking(zoned({}), trafficDistribution=word)
    assert seen(cluster, "client") == [[NEAR], [FAR]]
    assert seen(cluster, "far") == [[FAR], [NEAR]]
    assert seen(cluster, "lost") == [[FAR, NEAR]]
    setting: dict[str, Any] = {"enabled": False}
    assert seen(
        asking(zoned({"loadBalancer": {"localityLbSetting": setting}}), trafficDistribution=word), "client"
    ) == [[FAR, NEAR]]
    assert seen(asking(zoned({}), trafficDistribution="Somehow"), "client") == [[FAR, NEAR]]


@pytest.mark.parametrize(("word", "expected"), [("PreferSameZone", [[FAR, NEAR]]), ("PreferSameNode", [[NEAR], [FAR]])])
def test_the_same_node_is_closer_than_the_same_zone(word: str, expected: list[list[str]]) -> None:
    cluster = asking(zoned({}), trafficDistribution=word)
    cluster.put("Node", {"metadata": {"name": "node-b", "labels": {REGION: "r", ZONE: "a", SUBZONE: "s"}}})
    assert seen(cluster, "client") == expected


@pytest.mark.parametrize(
    "traffic",
    [{}, EJECTS, {"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "r/a", "to": {"r/b": 100}}]}}}],
)
def test_a_node_local_service_has_the_endpoints_of_the_client_s_node_only(traffic: dict[str, Any]) -> None:
    cluster = asking(zoned(traffic), internalTrafficPolicy="Local")
    shared = "distribute" in str(traffic)  # all that is left is elsewhere than the shares go
    assert seen(cluster, "client") == ([] if shared else [[NEAR]])
    assert seen(cluster, "far") == [[FAR]]
    assert seen(cluster, "gate", "other") == seen(cluster, "client")
    assert seen(cluster, "lost") == []
    assert seen(asking(zoned(traffic), internalTrafficPolicy="Cluster"), "far") != [[FAR]]


def test_labels_decide_where_they_are_named() -> None:
    setting = {"failoverPriority": [REGION, "version=v2", "app"]}
    cluster = zoned({**EJECTS, "loadBalancer": {"localityLbSetting": setting}})
    assert seen(cluster, "client") == [[FAR, NEAR]]
    cluster.put("Pod", pod("far", FAR, node="node-b", version="v2"))
    assert seen(cluster, "client") == [[FAR], [NEAR]]
    cluster.put("Pod", pod("far", FAR, node="node-b", version="v2", app="other"))
    assert seen(cluster, "client") == [[FAR], [NEAR]]
    assert seen(cluster, "lost") == [[FAR, NEAR]]  # the region is not the same, so nothing that follows counts


def test_shares_need_no_ejection_and_are_told_to_the_cluster() -> None:
    setting = {"distribute": [{"from": "r/a", "to": {"r/a": 90, "r/b": 10}}]}
    world = zoned({"loadBalancer": {"localityLbSetting": setting}}).world()
    found = all_messages(world, ("shop", "client"), ResourceType.ENDPOINT)[CLUSTER]
    assert {part.locality.zone: part.load_balancing_weight.value for part in found.endpoints} == {
        "a": 90_000,
        "b": 10_000,
    }
    balancing = all_messages(world, ("shop", "client"), ResourceType.CLUSTER)[CLUSTER].common_lb_config
    assert balancing.HasField("locality_weighted_lb_config")


def test_a_namespace_with_a_rule_of_its_own_sees_places_and_others_do_not() -> None:
    cluster = zoned(EJECTS, "other")
    assert seen(cluster, "gate", "other") == [[NEAR], [FAR]]
    assert seen(cluster, "client") == [[FAR, NEAR]]


def test_with_the_defect_everybody_is_as_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locality, "rank", locality.rank)  # put back afterwards
    defects.switch_on("locality-ignored")
    assert seen(zoned(EJECTS), "client") == [[FAR, NEAR]]


def test_who_sees_the_same_shares_it_and_what_did_not_change_stays() -> None:
    cluster = zoned(EJECTS)
    before = cluster.world()
    pods = before.snapshot.pods
    tables = [before.tables_of(pods["shop", name])[ResourceType.ENDPOINT] for name in ("client", "twin", "far", "lost")]
    assert tables[0] is tables[1]
    assert tables[3] is before.shared[ResourceType.ENDPOINT]
    assert [name for name in tables[0] if tables[0][name] is not tables[2][name]] == [
        f"outbound|{port}||echo.shop.svc.cluster.local" for port in (80, 90, 70)
    ]
    cluster.put("Namespace", {"metadata": {"name": "new"}})
    after = cluster.world()
    assert after.tables_of(pods["shop", "client"])[ResourceType.ENDPOINT] is tables[0]


def made(cluster: MemoryCluster, names: Iterable[str]) -> float:
    """How many endpoints are encoded to give pods of the shop theirs."""
    world = cluster.world()
    before = encoded()
    for name in names:
        world.tables_of(world.snapshot.pods["shop", name])
    return encoded() - before


def encoded() -> float:
    return float(metrics.ENCODES.labels(ResourceType.ENDPOINT.short)._value.get())


def test_a_rule_that_counts_nodes_multiplies_its_own_cluster_alone() -> None:
    cluster = zoned(EJECTS)
    callers = [f"caller-{n}" for n in range(12)]
    for n, name in enumerate(callers):
        labels = {REGION: "r", ZONE: "ab"[n % 2], SUBZONE: "s"}
        cluster.put("Node", {"metadata": {"name": f"n{n}", "labels": labels}})
        cluster.put("Pod", pod(name, f"10.1.7.{n}", node=f"n{n}"))
    assert made(cluster, callers) == 3 * 2  # the Service's ports, and the zones
    hosts = [pod("one", "10.1.8.1", node="n1"), pod("two", "10.1.8.2", node="n2")]
    cluster.put("Pod", *hosts)
    cluster.put("Service", service("cache", "10.0.0.2", ports={"http": (80, 8080)}))
    cluster.put("EndpointSlice", endpoint_slice("cache", hosts, ports={"http": 8080}))
    setting = {"failoverPriority": ["kubernetes.io/hostname"]}
    traffic = {**EJECTS, "loadBalancer": {"localityLbSetting": setting}}
    cluster.put("DestinationRule", policy("cache", {"host": "cache", "trafficPolicy": traffic}))
    assert made(cluster, callers) == len(hosts)  # Nodes without any all see the same
    assert made(cluster, callers) == 0
    assert seen(cluster, "caller-0") == [[NEAR], [FAR]]
    assert seen(cluster, "caller-1") == [[FAR], [NEAR]]
    found = all_messages(cluster.world(), ("shop", "caller-2"), ResourceType.ENDPOINT)
    by_priority = {part.priority: part for part in found["outbound|80||cache.shop.svc.cluster.local"].endpoints}
    assert by_priority[0].lb_endpoints[0].endpoint.address.socket_address.address == "10.1.8.2"


def test_a_namespace_with_rules_of_its_own_shares_what_they_do_not_touch() -> None:
    cluster = zoned(EJECTS)
    cluster.put("Pod", pod("own", "10.1.0.7", namespace="other", node="node-a"))
    cluster.put("Service", service("quiet", "10.0.0.3"))
    rule = {"host": "quiet.shop.svc.cluster.local", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 3}}}}
    cluster.put("DestinationRule", policy("quiet", rule, "other"))
    world = cluster.world()
    assert "other" in world.by_namespace
    one, other = (
        world.tables_of(world.snapshot.pods[key])[ResourceType.ENDPOINT]
        for key in (("shop", "client"), ("other", "own"))
    )
    assert one[CLUSTER] is other[CLUSTER]
