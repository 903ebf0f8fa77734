"""Load balancing from the rule to what Envoy is told; Envoy itself reads it in `test_envoy_accepts`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.fields import Field, Invalid
from refmesh.api.load_balancer import CONSISTENT_HASH, BalancerBlock, read
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, policy

POD = ("shop", "echo-v1")
NAME = "outbound|80||echo.shop.svc.cluster.local"


def block(**content: Any) -> BalancerBlock:
    return read(Field({"loadBalancer": content}, "").get("loadBalancer"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"simple": "NEAREST"}, "loadBalancer.simple"),
        ({"simple": "RANDOM", "consistentHash": {"useSourceIp": True}}, "cannot be combined with simple"),
        ({"consistentHash": {"useSourceIp": False}}, "useSourceIp: false names no key"),
        ({"consistentHash": {"httpHeaderName": "a", "useSourceIp": True}}, "needs exactly one of"),
        ({"consistentHash": {"httpHeaderName": ""}}, "httpHeaderName: must not be empty"),
        ({"consistentHash": {"httpCookie": {"ttl": "1s"}}}, "httpCookie.name"),
        ({"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 65536}}}, "65536 is no prime number"),
        ({"consistentHash": {"useSourceIp": True, "maglev": {}, "ringHash": {}}}, "cannot be combined with ringHash"),
        ({"consistentHash": {"useSourceIp": True, "ringHash": {"minimumRingSize": 0}}}, "must be between 1"),
        (
            {"consistentHash": {"useSourceIp": True, "minimumRingSize": 131073}},
            "minimumRingSize: must be between 1 and 131072, not 131073",
        ),
        (
            {"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 262147}}},
            "tableSize: must be between 2 and 131071, not 262147",
        ),
        ({"simple": "RANDOM", "turns": 3}, "turns: is not supported"),
        ({"simple": "RANDOM", "warmupDurationSecs": "10s"}, "needs ROUND_ROBIN or LEAST_REQUEST"),
        ({"simple": "RANDOM", "warmup": {"duration": "10s"}}, "warmup: needs ROUND_ROBIN or LEAST_REQUEST"),
        ({"warmup": {"minimumPercent": 1}}, "warmup.duration: is required"),
        ({"warmup": {"duration": "1s", "aggression": 0}}, "warmup.aggression: must be above 0"),
        ({"warmup": {"duration": "1s"}, "warmupDurationSecs": "1s"}, "warmupDurationSecs: is the older form"),
        (
            {"consistentHash": {"httpCookie": {"name": "a", "attributes": [{"name": "SameSite", "value": "a;b"}]}}},
            "attributes[0].value: cannot stand in a cookie",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_path(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        block(**content)
    assert sentence in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "simple",
                        "consistentHash",
                        "httpHeaderName",
                        "httpCookie",
                        "name",
                        "ttl",
                        "maglev",
                        "tableSize",
                        "ringHash",
                        "minimumRingSize",
                        "useSourceIp",
                        "warmupDurationSecs",
                        "localityLbSetting",
                        "distribute",
                        "failover",
                        "failoverPriority",
                        "from",
                        "to",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_nothing_but_invalid_is_raised(content: Any) -> None:
    try:
        found = read(Field({"loadBalancer": content}, "").get("loadBalancer"))
    except Invalid:
        return
    assert (found.simple == CONSISTENT_HASH) == (found.hashing is not None)


def test_a_subset_s_balancer_replaces_the_whole_block_of_the_host() -> None:
    spec = {
        "host": "echo",
        "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpHeaderName": "x"}}},
        "subsets": [
            {"name": "turns", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}},
            {"name": "same"},
        ],
    }
    rule = DestinationRule.parse(policy("echo", spec), "cluster.local")
    turns, same = (subset.policy.over(rule.policy) for subset in rule.subsets)
    assert (turns.balancer, turns.hashing) == ("ROUND_ROBIN", None)
    assert (same.balancer, same.hashing) == (CONSISTENT_HASH, rule.policy.hashing)


def cluster_with(balancer: dict[str, Any]) -> MemoryCluster:
    rule = policy("echo", {"host": "echo", "trafficPolicy": {"loadBalancer": balancer}})
    return MemoryCluster().with_echo().put("DestinationRule", rule)


def hash_policies(cluster: MemoryCluster, route: str = "echo.shop.svc.cluster.local:80") -> list[Any]:
    found = all_messages(cluster.world(), POD, ResourceType.ROUTE)[route]
    return [item for host in found.virtual_hosts for one in host.routes for item in one.route.hash_policy]


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        ({}, Cluster.LEAST_REQUEST),
        ({"simple": "RANDOM"}, Cluster.RANDOM),
        ({"simple": "ROUND_ROBIN"}, Cluster.ROUND_ROBIN),
        ({"consistentHash": {"httpHeaderName": "x"}}, Cluster.RING_HASH),
        ({"consistentHash": {"httpHeaderName": "x", "maglev": {"tableSize": 11}}}, Cluster.MAGLEV),
    ],
)
def test_each_balancer_has_its_name_in_envoy(balancer: dict[str, Any], expected: int) -> None:
    found = all_messages(cluster_with(balancer).world(), POD, ResourceType.CLUSTER)[NAME]
    assert found.lb_policy == expected
    if expected == Cluster.MAGLEV:
        assert found.maglev_lb_config.table_size.value == 11
    if expected == Cluster.RING_HASH:
        assert found.ring_hash_lb_config.minimum_ring_size.value == 1024
        assert found.ring_hash_lb_config.maximum_ring_size.value == 131072


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ({"httpHeaderName": "X-User"}, lambda item: item.header.header_name == "x-user"),
        ({"httpQueryParameterName": "user"}, lambda item: item.query_parameter.name == "user"),
        (
            {"httpCookie": {"name": "u", "path": "/p", "ttl": "5s"}},
            lambda item: (item.cookie.name, item.cookie.path, item.cookie.ttl.seconds) == ("u", "/p", 5),
        ),
        ({"useSourceIp": True}, lambda item: item.connection_properties.source_ip),
    ],
)
def test_the_key_is_said_in_the_route(key: dict[str, Any], found: Any) -> None:
    (item,) = hash_policies(cluster_with({"consistentHash": key}))
    assert found(item)


def test_a_route_follows_when_the_rule_comes_and_goes() -> None:
    cluster = cluster_with({"consistentHash": {"httpHeaderName": "x"}})
    assert len(hash_policies(cluster)) == 1
    cluster.drop("DestinationRule", "echo")
    assert hash_policies(cluster) == []


def test_weighted_destinations_hash_by_each_of_their_keys_once() -> None:
    cluster = cluster_with({"consistentHash": {"httpHeaderName": "x"}})
    rule = {
        "host": "echo",
        "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpHeaderName": "x"}}},
        "subsets": [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")],
    }
    shares = [{"destination": {"host": "echo", "subset": version}, "weight": 50} for version in ("v1", "v2")]
    cluster.put("DestinationRule", policy("echo", rule))
    cluster.put("VirtualService", policy("echo", {"hosts": ["echo"], "http": [{"route": shares}]}))
    assert [item.header.header_name for item in hash_policies(cluster)] == ["x"]


def test_bytes_are_hashed_by_their_source() -> None:
    cluster = cluster_with({"consistentHash": {"useSourceIp": True}})
    plain = MemoryCluster().with_echo()
    for one, expected in ((cluster, 1), (plain, 0)):
        listener = all_messages(one.world(), POD, ResourceType.LISTENER)["10.0.0.1_90"]
        (proxy,) = listener.filter_chains[0].filters
        found = TcpProxy.FromString(proxy.typed_config.value)
        assert len(found.hash_policy) == expected


def test_warm_up_is_a_slow_start() -> None:
    found = all_messages(cluster_with({"simple": "ROUND_ROBIN", "warmupDurationSecs": "10s"}).world(), POD,
                         ResourceType.CLUSTER)[NAME]  # fmt: skip
    window = found.round_robin_lb_config.slow_start_config.slow_start_window
    assert window.ToTimedelta() == timedelta(seconds=10)
    chosen = {"duration": "3s", "minimumPercent": 40, "aggression": 2}
    found = all_messages(cluster_with({"warmup": chosen}).world(), POD, ResourceType.CLUSTER)[NAME]
    slow = found.least_request_lb_config.slow_start_config
    assert (slow.slow_start_window.seconds, slow.min_weight_percent.value, slow.aggression.default_value) == (3, 40, 2)
