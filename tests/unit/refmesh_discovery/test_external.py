"""ServiceEntry: parsed with its mistakes named, and turned into what reaches the hosts outside, and only those."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from refmesh.api.fields import Invalid
from refmesh.api.service_entry import ServiceEntry
from refmesh.discovery import names
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator, World
from tests.unit.refmesh_discovery.helpers import MemoryCluster, message_of, policy, service

TCP = {"number": 90, "name": "tcp", "protocol": "TCP"}
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}


def entry(**spec: Any) -> dict[str, Any]:
    return policy("e", {"hosts": ["api.example.com"], "ports": [HTTP], "resolution": "DNS", **spec})


def world(*entries: dict[str, Any], allow: bool = True) -> World:
    cluster = MemoryCluster().with_echo()
    cluster.generator = Generator(replace(MeshSettings(), allow_unknown=allow))
    return cluster.put("ServiceEntry", *entries).world()


def message(found: World, kind: ResourceType, name: str) -> Any:
    return message_of(found.shared[kind][name], kind)


def test_a_host_without_address_is_told_by_its_name() -> None:
    found = world(entry())
    cluster = message(found, ResourceType.CLUSTER, "outbound|80||api.example.com")
    (lb,) = cluster.load_assignment.endpoints[0].lb_endpoints
    assert (lb.endpoint.address.socket_address.address, cluster.type) == ("api.example.com", cluster.STRICT_DNS)
    hosts = message(found, ResourceType.ROUTE, "0.0.0.0_80").virtual_hosts
    assert [list(host.domains) for host in hosts] == [["api.example.com", "api.example.com:80"], ["*"]]
    assert hosts[1].routes[0].route.cluster == names.PASSTHROUGH
    closed = message(world(entry(), allow=False), ResourceType.ROUTE, "0.0.0.0_80|block_all").virtual_hosts
    assert closed[1].routes[0].direct_response.status == 502


def test_an_address_of_its_own_belongs_to_the_entry_whatever_the_host_header_says() -> None:
    spec = entry(
        addresses=["240.0.0.1"], resolution="STATIC", endpoints=[{"address": "10.9.0.1", "ports": {"http": 8080}}]
    )
    found = world(spec)
    (host,) = message(found, ResourceType.ROUTE, "240.0.0.1_80").virtual_hosts
    assert list(host.domains) == ["*"]
    endpoints = message(found, ResourceType.ENDPOINT, "outbound|80||api.example.com").endpoints
    address = endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (address.address, address.port_value) == ("10.9.0.1", 8080)


def test_tls_is_told_by_sni_and_an_unknown_name_goes_where_the_policy_says() -> None:
    spec = entry(ports=[{"number": 443, "name": "tls", "protocol": "TLS"}])
    listener = message(world(spec, allow=False), ResourceType.LISTENER, "0.0.0.0_443")
    assert list(listener.filter_chains[0].filter_chain_match.server_names) == ["api.example.com"]
    assert names.BLACK_HOLE.encode() in listener.default_filter_chain.filters[0].typed_config.value
    capture = message(world(allow=False), ResourceType.LISTENER, "virtualOutbound")
    assert names.BLACK_HOLE.encode() in capture.default_filter_chain.filters[0].typed_config.value


def test_a_virtual_service_routes_requests_to_an_outside_host() -> None:
    cluster = MemoryCluster().with_echo().put("ServiceEntry", entry())
    rule = {"route": [{"destination": {"host": "api.example.com"}}], "timeout": "2s"}
    cluster.put("VirtualService", policy("v", {"hosts": ["api.example.com"], "http": [rule]}))
    route = message(cluster.world(), ResourceType.ROUTE, "0.0.0.0_80").virtual_hosts[0].routes[0]
    assert route.route.timeout.seconds == 2
    assert route.route.cluster == "outbound|80||api.example.com"


def test_a_host_that_reads_like_a_service_of_a_namespace_is_the_entry_s() -> None:
    cluster = MemoryCluster().with_echo().put("ServiceEntry", entry(hosts=["example.com"], ports=[HTTP, TCP]))
    away = {"destination": {"host": "example.com"}}
    cluster.put("VirtualService", policy("v", {"hosts": ["example.com"], "http": [{"route": [away], "timeout": "2s"}]}))
    spec = {"hosts": ["echo"], "http": [{"route": [away], "mirror": away["destination"]}], "tcp": [{"route": [away]}]}
    cluster.put("VirtualService", policy("w", spec))
    found = cluster.world()
    outside = message(found, ResourceType.ROUTE, "0.0.0.0_80").virtual_hosts[0].routes[0].route
    assert (outside.timeout.seconds, outside.cluster) == (2, "outbound|80||example.com")
    inside = message(found, ResourceType.ROUTE, "echo.shop.svc.cluster.local:80").virtual_hosts[0].routes[0].route
    assert inside.cluster == inside.request_mirror_policies[0].cluster == "outbound|80||example.com"
    stream = message(found, ResourceType.LISTENER, "10.0.0.1_90").filter_chains[0].filters[0]
    assert b"outbound|90||example.com" in stream.typed_config.value


def test_a_service_of_that_name_is_still_meant_by_it() -> None:
    cluster = MemoryCluster().with_echo().put("ServiceEntry", entry(hosts=["example.com"]))
    cluster.put("Service", service("example", "10.0.0.9", namespace="com"))
    rule = {"route": [{"destination": {"host": "example.com"}}]}
    cluster.put("VirtualService", policy("w", {"hosts": ["echo"], "http": [rule]}))
    inside = message(cluster.world(), ResourceType.ROUTE, "echo.shop.svc.cluster.local:80").virtual_hosts[0]
    assert inside.routes[0].route.cluster == "outbound|80||example.com.svc.cluster.local"


def test_of_two_entries_for_a_host_the_older_decides() -> None:
    older = entry(resolution="STATIC", endpoints=[{"address": "10.9.0.1"}])
    older["metadata"] |= {"name": "old", "creationTimestamp": "2020-01-01T00:00:00Z"}
    cluster = message(world(entry(), older), ResourceType.CLUSTER, "outbound|80||api.example.com")
    assert cluster.type == cluster.EDS


@pytest.mark.parametrize("host", ["api.example.com", "example.com"])
def test_a_rule_beside_the_entry_speaks_to_all_and_another_to_its_own_namespace(host: str) -> None:
    def rule(name: str, namespace: str, limit: int) -> dict[str, Any]:
        pool = {"connectionPool": {"tcp": {"maxConnections": limit}}}
        return policy(name, {"host": host, "trafficPolicy": pool}, namespace)

    cluster = MemoryCluster().with_echo().put("ServiceEntry", entry(hosts=[host]))
    cluster.put("DestinationRule", rule("beside", "shop", 1), rule("own", "elsewhere", 2))
    found = cluster.world()

    def limit(namespace: str) -> int:
        item = found.tables(namespace)[ResourceType.CLUSTER][f"outbound|80||{host}"]
        return int(message_of(item, ResourceType.CLUSTER).circuit_breakers.thresholds[0].max_connections.value)

    assert [limit(namespace) for namespace in ("shop", "elsewhere", "third")] == [1, 2, 1]


def test_nothing_is_put_before_the_ports_that_proxies_listen_on_themselves() -> None:
    own = service("own", "10.0.0.2", ports={"http": (15006, 8080), "other": (15021, 8081)})
    cluster = MemoryCluster().with_echo().put("Service", own)
    cluster.generator = Generator(MeshSettings(allow_unknown=False))
    cluster.put("ServiceEntry", entry(addresses=["240.0.0.1"], ports=[HTTP | {"number": 15006}]))
    table = set(cluster.world().shared[ResourceType.LISTENER])
    assert {name for name in table if name.startswith("0.0.0.0")} == {"0.0.0.0_80", "0.0.0.0_70"}
    assert {"10.0.0.2_15006", "240.0.0.1_15006"} <= table


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hosts": []}, "spec.hosts: is required"),
        ({"hosts": ["echo.shop.svc.cluster.local"]}, r"spec.hosts\[0\]: is a name of the cluster"),
        ({"hosts": ["*.example.com"]}, r"spec.hosts\[0\]: cannot be looked up"),
        ({"location": "MESH_INTERNAL"}, "spec.location"),
        ({"resolution": "STATIC"}, "spec.endpoints: is required"),
        ({"resolution": "NONE", "endpoints": [{"address": "10.0.0.1"}]}, "spec.endpoints: has no meaning"),
        ({"addresses": ["10.0.0.0/8"]}, r"spec.addresses\[0\]"),
        ({"addresses": ["0.0.0.0"]}, r"spec.addresses\[0\]: is no address"),
        ({"ports": [HTTP, {"number": 15006}]}, r"spec.ports\[1\].number: must not be from 15000 to 15090"),
        ({"ports": [{"number": 80, "protocol": "CARRIER-PIGEON"}]}, r"spec.ports\[0\].protocol"),
        ({"endpoints": [{"address": "localhost"}]}, r"spec.endpoints\[0\].address: is the proxy itself"),
        ({"resolution": "STATIC", "endpoints": [{"address": "127.0.0.1"}]}, "is the proxy itself"),
        ({"hosts": ["x.localhost"]}, r"spec.hosts\[0\]: is the proxy itself"),
        ({"resolution": "DNS", "endpoints": [{"address": "a", "ports": {"http": 15000}}]}, "must not lead to 15000"),
        ({"endpoints": [{"address": "a", "ports": {"x": 1}}]}, r"spec.endpoints\[0\].ports\['x'\]"),
        ({"workloadSelector": {}}, "spec.workloadSelector: is not supported"),
    ],
)
def test_a_mistake_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        ServiceEntry.parse(entry(**change), "cluster.local")
