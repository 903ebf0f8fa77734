"""DestinationRules and tcp, tls and http routes for hosts of ServiceEntries: all that they have for a Service."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from refmesh.api.destination_rule import DestinationRule
from refmesh.config.effects import without_effect
from refmesh.config.outside import hosts_outside
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.world import World
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, message_of, pod, policy
from tests.unit.refmesh_discovery.test_standings import judged

HOST = "api.example.com"
ECHO = "echo.shop.svc.cluster.local"
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
TLS = {"number": 443, "name": "tls", "protocol": "TLS"}
TCP = {"number": 90, "name": "tcp", "protocol": "TCP"}
PLACES: list[dict[str, Any]] = [
    {"address": "10.9.0.1", "labels": {"version": "v1"}, "locality": "r/a", "weight": 3},
    {"address": "10.9.0.2", "labels": {"version": "v2"}, "locality": "r/b"},
]
SUBSETS = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]


def entry(host: str = HOST, **spec: Any) -> dict[str, Any]:
    return policy("e", {"hosts": [host], "ports": [HTTP], "resolution": "STATIC", "endpoints": PLACES, **spec})


def rule(host: str = HOST, namespace: str = "shop", *, name: str = "r", **spec: Any) -> dict[str, Any]:
    return policy(name, {"host": host, **spec}, namespace)


def built(*rules: dict[str, Any], entries: tuple[dict[str, Any], ...] = (), virtual: Any = ()) -> World:
    cluster = MemoryCluster().with_echo().put("ServiceEntry", *(entries or (entry(),)))
    cluster.put("DestinationRule", *rules).put("VirtualService", *virtual)
    assert not cluster.snapshot().rejected
    return cluster.world()


def read(found: World, kind: ResourceType, name: str, namespace: str = "") -> Any:
    return message_of(found.tables(namespace)[kind][name], kind)


def addresses(assignment: Any) -> list[str]:
    return [one.endpoint.address.socket_address.address for part in assignment.endpoints for one in part.lb_endpoints]


def cluster_of(chain: Any) -> str:
    proxy = TcpProxy()
    assert chain.filters[-1].typed_config.Unpack(proxy)
    return str(proxy.cluster)


def test_subsets_have_clusters_with_the_endpoints_of_their_labels_and_policies_of_their_own() -> None:
    limited = {"connectionPool": {"tcp": {"maxConnections": 4}}}
    subsets = [SUBSETS[0], SUBSETS[1] | {"trafficPolicy": limited}]
    route = {"route": [{"destination": {"host": HOST, "subset": "v2"}}]}
    budget = {"retryBudget": {"percent": 50}}
    virtual = policy("v", {"hosts": [HOST], "http": [route]})
    found = built(rule(subsets=subsets, trafficPolicy=budget), virtual=[virtual])
    second = read(found, ResourceType.CLUSTER, f"outbound|80|v2|{HOST}")
    threshold = second.circuit_breakers.thresholds[0]
    assert (threshold.max_connections.value, threshold.retry_budget.budget_percent.value) == (4, 50)
    assert addresses(read(found, ResourceType.ENDPOINT, f"outbound|80|v2|{HOST}")) == ["10.9.0.2"]
    assert sorted(addresses(read(found, ResourceType.ENDPOINT, f"outbound|80||{HOST}"))) == ["10.9.0.1", "10.9.0.2"]
    chosen = read(found, ResourceType.ROUTE, "0.0.0.0_80").virtual_hosts[0].routes[0].route
    assert chosen.cluster == f"outbound|80|v2|{HOST}"


def test_names_that_are_looked_up_have_subsets_and_weights_as_well() -> None:
    endpoints = [{key: value for key, value in place.items() if key != "locality"} for place in PLACES]
    found = built(rule(subsets=SUBSETS), entries=(entry(resolution="DNS", endpoints=endpoints),))
    cluster = read(found, ResourceType.CLUSTER, f"outbound|80|v1|{HOST}")
    assert addresses(cluster.load_assignment) == ["10.9.0.1"]
    assert cluster.load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight.value == 3


def test_requests_are_hashed_as_the_rule_of_their_namespace_says() -> None:
    def hashed(header: str) -> dict[str, Any]:
        return {"loadBalancer": {"consistentHash": {"httpHeaderName": header, "maglev": {}}}}

    found = built(rule(trafficPolicy=hashed("x-a")), rule(namespace="far", name="far", trafficPolicy=hashed("x-b")))
    cluster = read(found, ResourceType.CLUSTER, f"outbound|80||{HOST}")
    assert cluster.lb_policy == cluster.MAGLEV

    def header(namespace: str) -> str:
        route = read(found, ResourceType.ROUTE, "0.0.0.0_80", namespace).virtual_hosts[0].routes[0].route
        return str(route.hash_policy[0].header.header_name)

    assert [header(namespace) for namespace in ("shop", "far", "third")] == ["x-a", "x-b", "x-a"]


def test_streams_go_by_source_and_end_as_a_rule_says() -> None:
    traffic = {
        "loadBalancer": {"consistentHash": {"useSourceIp": True}},
        "connectionPool": {"tcp": {"idleTimeout": "5s"}},
        "outlierDetection": {"consecutiveGatewayErrors": 1, "minHealthPercent": 30},
    }
    found = built(rule(trafficPolicy=traffic), entries=(entry(ports=[TCP]),))
    proxy = TcpProxy()
    listener = read(found, ResourceType.LISTENER, "0.0.0.0_90")
    assert listener.default_filter_chain.filters[0].typed_config.Unpack(proxy)
    assert (proxy.idle_timeout.seconds, proxy.hash_policy[0].HasField("source_ip")) == (5, True)
    cluster = read(found, ResourceType.CLUSTER, f"outbound|90||{HOST}")
    assert cluster.common_lb_config.healthy_panic_threshold.value == 30


def test_places_of_endpoints_count_for_those_who_are_somewhere() -> None:
    cluster = MemoryCluster().with_echo()
    cluster.put("Pod", pod("echo-v1", "10.1.0.1", labels={"istio-locality": "r.b"})).put("ServiceEntry", entry())
    cluster.put("DestinationRule", rule(trafficPolicy={"outlierDetection": {"consecutive5xxErrors": 1}}))
    seen = all_messages(cluster.world(), ("shop", "echo-v1"), ResourceType.ENDPOINT)[f"outbound|80||{HOST}"]
    assert addresses(seen) == ["10.9.0.2", "10.9.0.1"]
    assert [part.priority for part in seen.endpoints] == [0, 1]


def test_the_closest_wildcard_of_a_rule_counts() -> None:
    def limited(count: int) -> dict[str, Any]:
        return {"connectionPool": {"tcp": {"maxConnections": count}}}

    wide = rule("*.com", name="wide", trafficPolicy=limited(1))
    close = rule("*.example.com", name="close", trafficPolicy=limited(2))
    cluster = read(built(wide, close), ResourceType.CLUSTER, f"outbound|80||{HOST}")
    assert cluster.circuit_breakers.thresholds[0].max_connections.value == 2


def test_passthrough_goes_to_the_address_that_was_asked_for() -> None:
    cluster = read(
        built(rule(trafficPolicy={"loadBalancer": {"simple": "PASSTHROUGH"}})),
        ResourceType.CLUSTER,
        f"outbound|80||{HOST}",
    )
    assert (cluster.type, cluster.lb_policy) == (cluster.ORIGINAL_DST, cluster.CLUSTER_PROVIDED)


def test_tls_routes_split_what_goes_to_a_name_and_leave_the_rest() -> None:
    away = {"destination": {"host": "echo", "port": {"number": 90}}}
    tls = [{"match": [{"sniHosts": [HOST, "other.example.org"], "sourceNamespace": "far"}], "route": [away]}]
    cluster = MemoryCluster().with_echo().put("Namespace", {"metadata": {"name": "far"}})
    cluster.put("ServiceEntry", entry(ports=[TLS])).put("VirtualService", policy("v", {"hosts": [HOST], "tls": tls}))
    found = cluster.world()
    chains = read(found, ResourceType.LISTENER, "0.0.0.0_443", "far").filter_chains
    assert [list(chain.filter_chain_match.server_names) for chain in chains] == [[HOST]]
    assert cluster_of(chains[0]) == "outbound|90||echo.shop.svc.cluster.local"
    (own,) = read(found, ResourceType.LISTENER, "0.0.0.0_443", "shop").filter_chains
    assert cluster_of(own) == f"outbound|443||{HOST}"


def test_a_tcp_route_may_be_for_some_addresses_and_every_chain_holds_for_those_too() -> None:
    away = {"destination": {"host": "echo", "port": {"number": 90}}}
    tcp = [{"match": [{"destinationSubnets": ["10.20.0.0/16"]}], "route": [away]}]
    entries = (entry(ports=[TCP]), policy("h", {"hosts": ["b.example.com"], "ports": [HTTP | {"number": 90}]}))
    found = built(entries=entries, virtual=[policy("v", {"hosts": [HOST], "tcp": tcp})])
    listener = read(found, ResourceType.LISTENER, "0.0.0.0_90")
    blocks = [
        [block.address_prefix for block in one.filter_chain_match.prefix_ranges] for one in listener.filter_chains
    ]
    assert blocks == [[], ["10.20.0.0"], ["10.20.0.0"]]
    assert cluster_of(listener.filter_chains[-1]) == "outbound|90||echo.shop.svc.cluster.local"
    assert cluster_of(listener.default_filter_chain) == f"outbound|90||{HOST}"


def test_a_route_for_some_addresses_holds_for_an_entry_s_own_or_not() -> None:
    away = {"destination": {"host": "echo", "port": {"number": 90}}}
    tcp = [{"match": [{"destinationSubnets": ["10.20.0.0/16"]}], "route": [away]}]
    spec = entry(ports=[TCP], addresses=["10.20.3.4", "10.30.0.1"])
    found = built(entries=(spec,), virtual=[policy("v", {"hosts": [HOST], "tcp": tcp})])
    near, far = (read(found, ResourceType.LISTENER, f"{address}_90") for address in ("10.20.3.4", "10.30.0.1"))
    assert cluster_of(near.default_filter_chain) == "outbound|90||echo.shop.svc.cluster.local"
    assert cluster_of(far.default_filter_chain) == f"outbound|90||{HOST}"


def test_clients_with_a_label_have_routes_and_listeners_of_their_own() -> None:
    away = {"destination": {"host": "echo", "port": {"number": 90}}}
    ours = {"sourceLabels": {"version": "v1"}}
    virtual = policy(
        "v",
        {
            "hosts": [HOST, "echo"],
            "http": [{"match": [ours], "route": [away], "timeout": "3s"}, {"route": [{"destination": {"host": HOST}}]}],
            "tcp": [{"match": [ours | {"port": 90}], "route": [away]}],
        },
    )
    found = built(entries=(entry(ports=[HTTP, TCP]),), virtual=[virtual])

    def timeout(pod_name: str) -> int:
        table = all_messages(found, ("shop", pod_name), ResourceType.ROUTE)["0.0.0.0_80"]
        return int(table.virtual_hosts[0].routes[0].route.timeout.seconds)

    def stream(pod_name: str, listener: str) -> str:
        message = all_messages(found, ("shop", pod_name), ResourceType.LISTENER)[listener]
        chain = message.default_filter_chain if message.HasField("default_filter_chain") else message.filter_chains[0]
        return cluster_of(chain)

    assert (timeout("echo-v1"), timeout("echo-v2")) == (3, 0)
    assert stream("echo-v1", "0.0.0.0_90") == stream("echo-v1", "10.0.0.1_90")
    assert stream("echo-v2", "0.0.0.0_90") == f"outbound|90||{HOST}"


def speaking(name: str, host: str, seconds: int, namespace: str = "shop") -> dict[str, Any]:
    rule_ = {"route": [{"destination": {"host": "echo.shop"}}], "timeout": f"{seconds}s"}
    return policy(name, {"hosts": [host], "http": [rule_]}, namespace)


def timeouts(found: World) -> tuple[int, int]:
    """Of requests to the Service and to the host outside."""
    inside = read(found, ResourceType.ROUTE, "echo.shop.svc.cluster.local:80").virtual_hosts[0].routes[0].route
    outside = read(found, ResourceType.ROUTE, "0.0.0.0_80").virtual_hosts[0].routes[0].route
    return inside.timeout.seconds, outside.timeout.seconds


def test_a_wildcard_in_the_mesh_speaks_for_the_hosts_that_there_are() -> None:
    assert timeouts(built(virtual=[speaking("v", "*.example.com", 4)])) == (0, 4)


def test_of_wildcards_the_closest_counts_and_a_name_before_any() -> None:
    virtual = [speaking("a", "*.local", 1), speaking("b", "*.shop.svc", 2), speaking("c", HOST, 3)]
    assert timeouts(built(virtual=virtual)) == (2, 3)


@pytest.mark.parametrize("host", ["*.local", "*.svc.cluster.local", "*.shop.svc"])
def test_a_wildcard_covers_services_of_its_own_namespace_or_in_the_root_namespace_of_all(host: str) -> None:
    stranger = speaking("a", host, 1, "attacker")
    assert timeouts(built(virtual=[stranger])) == (0, 0)
    assert timeouts(built(virtual=[stranger, speaking("b", host, 2)])) == (2, 0)
    assert timeouts(built(virtual=[stranger, speaking("b", host, 3, "refmesh-system")])) == (3, 0)


def test_nobody_speaks_for_every_host_of_the_mesh() -> None:
    cluster = MemoryCluster().with_echo().put("VirtualService", speaking("v", "*", 1))
    (rejected,) = cluster.snapshot().rejected.values()
    assert rejected.reason.startswith("spec.hosts[0]: must not be * for sidecars")
    at_gateways = speaking("v", "*", 1)
    at_gateways["spec"]["gateways"] = ["door"]
    assert not cluster.put("VirtualService", at_gateways).snapshot().rejected


def test_a_private_rule_leaves_the_public_one_to_others() -> None:
    mine = rule(name="mine", exportTo=["."], trafficPolicy={"connectionPool": {"tcp": {"maxConnections": 1}}})
    public = rule(name="public", trafficPolicy={"tls": {"mode": "SIMPLE"}})
    public["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    found = built(mine, public)

    own, others = (read(found, ResourceType.CLUSTER, f"outbound|80||{HOST}", where) for where in ("shop", "far"))
    assert own.circuit_breakers.thresholds[0].max_connections.value == 1
    assert (own.HasField("transport_socket"), others.HasField("transport_socket")) == (False, True)


def test_the_root_namespace_s_rule_stands_behind_the_one_beside_the_entry() -> None:
    def limiting(number: int, namespace: str, **spec: Any) -> dict[str, Any]:
        pool = {"connectionPool": {"tcp": {"maxConnections": number}}}
        return rule(namespace=namespace, name=f"r{number}", trafficPolicy=pool, **spec)

    def limits(*rules: dict[str, Any]) -> list[int]:
        cluster = MemoryCluster().with_echo().put("ServiceEntry", entry()).put("DestinationRule", *rules)
        for namespace in ("far", "other"):
            cluster.put("Namespace", {"metadata": {"name": namespace}}).put("Pod", pod("p", "10.1.0.9", namespace))
        world, name = cluster.world(), f"outbound|80||{HOST}"
        found = (read(world, ResourceType.CLUSTER, name, where) for where in ("shop", "far", "other"))
        return [one.circuit_breakers.thresholds[0].max_connections.value for one in found]

    unlimited, lent = 2**32 - 1, limiting(3, "refmesh-system", exportTo=["far", "shop"])
    assert limits(lent) == [3, 3, unlimited]
    assert limits(lent, limiting(2, "shop")) == [2, 2, 2]
    beside = MemoryCluster().put("ServiceEntry", entry()).put("DestinationRule", lent, limiting(2, "shop"))
    beside.put("Namespace", *({"metadata": {"name": name}} for name in ("far", "shop")))
    (problem,) = judged(beside, "DestinationRule", "r3", "refmesh-system").blocked
    assert "DestinationRule shop/r2 speaks for" in problem.message
    assert limits(lent, limiting(2, "shop"), limiting(4, "far")) == [2, 4, 2]
    assert limits(lent, limiting(5, "refmesh-system")) == [3, 3, 5]


def test_a_block_of_all_addresses_is_no_condition() -> None:
    away = {"destination": {"host": "echo", "port": {"number": 90}}}
    match = {"sniHosts": [HOST], "destinationSubnets": ["10.0.0.0/8", "0.0.0.0/0"]}
    virtual = policy("v", {"hosts": [HOST], "tls": [{"match": [match], "route": [away]}]})
    listener = read(built(entries=(entry(ports=[TLS]),), virtual=[virtual]), ResourceType.LISTENER, "0.0.0.0_443")
    (chain,) = listener.filter_chains
    assert (list(chain.filter_chain_match.prefix_ranges), cluster_of(chain)) == ([], f"outbound|90||{ECHO}")


@pytest.mark.parametrize(
    ("spec", "traffic", "subsets", "told"),
    [
        ({"resolution": "NONE", "endpoints": None}, {"outlierDetection": {}}, [], ["spec.trafficPolicy.outlierDetec"]),
        (
            {"resolution": "NONE", "endpoints": None},
            {"portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}}]},
            SUBSETS[:1],
            ["spec.trafficPolicy.portLevelSettings[80].loadBalancer", "spec.subsets[0].labels"],
        ),
        ({}, {}, [{"name": "v3", "labels": {"version": "v3"}}], ["spec.subsets[0].labels"]),
        (
            {"resolution": "DNS", "endpoints": None},
            {"loadBalancer": {"localityLbSetting": {"enabled": True}}},
            [],
            ["spec.trafficPolicy.loadBalancer.localityLbSetting"],
        ),
        ({}, {"outlierDetection": {}, "loadBalancer": {"simple": "RANDOM"}}, SUBSETS, []),
    ],
)
def test_what_does_nothing_is_told(
    spec: dict[str, Any], traffic: dict[str, Any], subsets: list[Any], told: list[str]
) -> None:
    written = DestinationRule.parse(rule("*.example.com", trafficPolicy=traffic, subsets=subsets), "cluster.local")
    snapshot = MemoryCluster().put("ServiceEntry", entry(**spec)).snapshot()
    found = list(without_effect(written, hosts_outside(snapshot)))
    assert len(found) == len(told)
    assert all(sentence.startswith(start) for sentence, start in zip(found, told, strict=True))
