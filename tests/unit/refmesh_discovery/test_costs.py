"""What one object may cost the control plane: counted in steps, which are the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChainMatch

from refmesh.api import gateway_route, virtual_service
from refmesh.api.request_authentication import JwtRule
from refmesh.config import addresses
from refmesh.discovery import attachments, chains, classic
from refmesh.discovery.accounts import Departures
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.classic import ports_taken
from refmesh.discovery.endpoints import backends
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import (
    MemoryCluster,
    all_messages,
    endpoint_slice,
    message_of,
    pod,
    policy,
    service,
)
from tests.unit.refmesh_ingress.classic_doors import DOOR, WEB, istio_gateway, with_door

MANY = 40
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
TCP = {"number": 90, "name": "tcp", "protocol": "TCP"}


def counting(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> Callable[[], int]:
    """Have the calls of a function counted. Returns how many there were since it was last asked."""
    real, calls = getattr(owner, name), [0]

    def counted(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        return real(*args, **options)

    def taken() -> int:
        found, calls[0] = calls[0], 0
        return found

    monkeypatch.setattr(owner, name, counted)
    return taken


def subnets(count: int) -> list[str]:
    return [f"10.0.{index}.0/24" for index in range(count)]


def to_echo(**more: Any) -> dict[str, Any]:
    return {"route": [{"destination": {"host": "echo", "port": {"number": 90}}}], **more}


def with_hosts_outside(ports: list[Any]) -> MemoryCluster:
    """MANY hosts outside, a.example.com and others."""
    hosts = ["a.example.com", *(f"h{index}.example.com" for index in range(1, MANY))]
    entry = {"hosts": hosts, "ports": ports, "resolution": "STATIC", "endpoints": [{"address": "10.9.0.1"}]}
    return MemoryCluster().with_echo().put("ServiceEntry", policy("e", entry))


def test_blocks_of_addresses_are_read_once_for_each_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    read = counting(monkeypatch, chains, "IPv4Network")
    made = chains.filter_chains(
        [chains.Chain(f"c{index}", FilterChainMatch(), (), (one,)) for index, one in enumerate(subnets(MANY))]
    )
    assert read() <= MANY
    prefixes = [chain.filter_chain_match.prefix_ranges[0].address_prefix for chain in made]
    assert prefixes == [str(IPv4Network(one).network_address) for one in subnets(MANY)]


@pytest.mark.parametrize("count", [64, 65])
def test_a_virtual_service_may_tell_some_blocks_of_addresses_apart_not_any_number(count: int) -> None:
    tcp = [to_echo(match=[{"destinationSubnets": [one]}]) for one in subnets(count - 1)]
    tls = [to_echo(match=[{"sniHosts": ["a.example.com"], "destinationSubnets": ["10.0.0.0/8"]}])]
    written = policy("v", {"hosts": ["a.example.com"], "tcp": tcp, "tls": tls})
    rejected = MemoryCluster().put("VirtualService", written).snapshot().rejected
    reasons = [one.reason.partition(" must ")[0] for one in rejected.values()]
    assert reasons == (["spec.tcp[63].match[0].destinationSubnets:"] if count > 64 else [])


@pytest.mark.parametrize("count", [64, 65])
def test_every_block_has_every_name_so_both_together_have_a_limit(count: int) -> None:
    tcp = [to_echo(match=[{"destinationSubnets": subnets(64)}])]
    tls = [to_echo(match=[{"sniHosts": [f"h{index}.example.com" for index in range(count)]}])]
    written = policy("v", {"hosts": ["*.example.com"], "tcp": tcp, "tls": tls})
    rejected = MemoryCluster().put("VirtualService", written).snapshot().rejected
    reasons = [one.reason.partition(" beside ")[0] for one in rejected.values()]
    assert reasons == (["spec.tls: has 65 sniHosts"] if count > 64 else [])


@pytest.mark.parametrize(
    ("hosts", "ports", "addresses", "endpoints", "problem"),
    [
        (256, 1, 256, 0, ""),
        (1, 24, 0, 4096, ""),
        (1, 25, 0, 4096, "spec.hosts: times spec.ports times spec.addresses and spec.endpoints are 102400"),
        (256, 2, 100, 100, "spec.hosts: times spec.ports times spec.addresses and spec.endpoints are 102400"),
        (257, 1, 0, 1, "spec.hosts: has 257 entries"),
        (1, 257, 0, 1, "spec.ports: has 257 entries"),
        (1, 1, 257, 1, "spec.addresses: has 257 entries"),
        (1, 1, 0, 4097, "spec.endpoints: has 4097 entries"),
    ],
)
def test_every_host_is_at_every_port_with_every_endpoint_so_all_together_have_a_limit(
    hosts: int, ports: int, addresses: int, endpoints: int, problem: str
) -> None:
    spec = {
        "hosts": [f"h{index}.example.com" for index in range(hosts)],
        "ports": [{"number": index + 1, "name": f"p{index}"} for index in range(ports)],
        "addresses": ["10.9.0.1"] * addresses,
        "resolution": "STATIC" if endpoints else "NONE",
        "endpoints": [{"address": "10.9.0.2"}] * endpoints,
    }
    rejected = MemoryCluster().put("ServiceEntry", policy("e", spec)).snapshot().rejected
    assert [one.reason.partition(";")[0].partition(",")[0] for one in rejected.values()] == (
        [problem] if problem else []
    )


class Asked(tuple[str, ...]):
    """Names that count how often they are searched for one."""

    __slots__ = ()
    times = 0

    def __contains__(self, name: object) -> bool:
        Asked.times += 1
        return super().__contains__(name)


def test_not_every_host_of_a_virtual_service_is_compared_with_every_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    Asked.times = 0
    monkeypatch.setattr(virtual_service, "gateway_names", lambda *_: Asked(["shop/a", "shop/b"]))
    spec = {"hosts": ["*"] * MANY, "http": [to_echo()]}
    assert not MemoryCluster().put("VirtualService", policy("v", spec)).snapshot().rejected
    assert Asked.times == 1


def test_not_every_header_that_tokens_write_is_compared_with_every_header_they_stand_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_out = [0]

    def read_headers(_: JwtRule) -> frozenset[str]:
        worked_out[0] += 1
        return frozenset()

    monkeypatch.setattr(JwtRule, "read_headers", property(read_headers))
    written = [{"header": f"x-{index}", "claim": "sub"} for index in range(MANY)]
    rule = {"issuer": "a", "jwksUri": "https://a/b", "outputClaimToHeaders": written}
    assert not MemoryCluster().put("RequestAuthentication", policy("r", {"jwtRules": [rule]})).snapshot().rejected
    assert worked_out == [1]


def test_mirrors_of_a_route_are_not_copied_for_every_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = counting(monkeypatch, gateway_route, "replace")
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "echo", "port": 80}}}
    parent = {"parentRefs": [{"group": "", "kind": "Service", "name": "echo"}]}
    cluster = MemoryCluster().put("HTTPRoute", policy("r", {**parent, "rules": [{"filters": [mirror] * MANY}]}))
    (route,) = cluster.snapshot().http_routes.values()
    assert len(route.rules[0].mirrors) == MANY
    assert copied() == 1


def test_servers_of_a_port_are_not_all_compared_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = with_door(("IstioGateway", istio_gateway(*[WEB] * MANY))).snapshot()
    looked_at = counting(monkeypatch, classic, "_shape")
    (taken,) = ports_taken(snapshot, snapshot.pods[DOOR]).values()
    assert len(taken) == MANY
    assert looked_at() <= 2 * MANY


def test_a_chain_that_is_never_reached_is_not_asked_for_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counting(monkeypatch, chains.Chain, "covers")
    same = [chains.Chain(f"c{index}", FilterChainMatch(), (), ("10.0.0.0/24",)) for index in range(MANY)]
    assert [chain.name for chain in chains.filter_chains(same)] == ["c0@10.0.0.0/24"]
    assert asked() < MANY


def test_wildcards_are_looked_up_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = MemoryCluster().with_echo()
    for index in range(MANY):
        cluster.put("Service", service(f"s{index}", f"10.2.0.{index}"))
    hosts = [f"*.x{index}.q" for index in range(MANY)]
    cluster.put("VirtualService", policy("v", {"hosts": hosts, "http": [to_echo()]}))
    compared = counting(monkeypatch, attachments, "covers")
    cluster.world()
    assert compared() < MANY


def test_a_namespace_with_a_rule_of_its_own_costs_the_hosts_that_the_rule_is_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = with_hosts_outside([HTTP, TCP])
    cluster.world()
    asked = counting(monkeypatch, Attachments, "host_rules")
    cluster.world()
    without = asked()
    limited = {"trafficPolicy": {"connectionPool": {"tcp": {"idleTimeout": "5s"}}}}
    for namespace in ("far", "further"):
        cluster.put("Namespace", {"metadata": {"name": namespace}})
        cluster.put("DestinationRule", policy("echo", {"host": "echo.shop", **limited}, namespace))
        cluster.put("DestinationRule", policy("a", {"host": "a.example.com", **limited}, namespace))
    cluster.world()
    assert asked() <= without + 10


def test_a_namespace_sees_connections_handled_as_its_rule_for_their_destination_says() -> None:
    cluster = with_hosts_outside([TCP]).put("Namespace", {"metadata": {"name": "far"}})
    cluster.put("VirtualService", policy("v", {"hosts": ["a.example.com"], "tcp": [to_echo()]}))
    limited = {"trafficPolicy": {"connectionPool": {"tcp": {"idleTimeout": "5s"}}}}
    cluster.put("DestinationRule", policy("echo", {"host": "echo.shop", **limited}, "far"))
    world = cluster.world()
    listeners = [
        message_of(world.tables(namespace)[ResourceType.LISTENER]["0.0.0.0_90"], ResourceType.LISTENER)
        for namespace in ("shop", "far")
    ]
    assert listeners[0] != listeners[1]


def test_pods_that_are_asked_for_the_same_labels_share_what_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = with_hosts_outside([HTTP])
    ours = [to_echo(match=[{"sourceLabels": {"version": "v1"}}], timeout="3s"), to_echo()]
    cluster.put("VirtualService", policy("v", {"hosts": ["a.example.com"], "http": ours}))
    for index in range(MANY):
        cluster.put("Pod", pod(f"p{index}", f"10.3.0.{index}", labels={"number": str(index)}))
    world = cluster.world()
    asked = counting(monkeypatch, Attachments, "host_rules")
    for index in range(MANY):
        table = all_messages(world, ("shop", f"p{index}"), ResourceType.ROUTE)["0.0.0.0_80"]
        (host,) = (one for one in table.virtual_hosts if one.name == "a.example.com")
        assert host.routes[0].route.timeout.seconds == 3
    assert asked() <= MANY + 10


def test_pods_are_listed_by_address_once_for_every_change_of_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = counting(monkeypatch, addresses, "_indexed")
    cluster = MemoryCluster().with_echo()
    departures = Departures(clock=lambda: 0.0)

    def found() -> list[bool]:
        """The backends of a Service whose endpoints name no pods, by whether these serve mutual TLS."""
        snapshot = departures.noted(cluster.snapshot())
        world = cluster.generator.build(snapshot)
        echo = snapshot.services["shop", "echo"]
        return [one.mtls for one in backends(snapshot, world.policies, echo, echo.ports[0])]

    written = endpoint_slice("echo", [pod("echo-v1", "10.1.0.1"), pod("echo-v2", "10.1.0.2")])
    for endpoint in written["endpoints"]:
        del endpoint["targetRef"]
    cluster.put("EndpointSlice", written)
    assert found() == [True, True]
    cluster.put("EndpointSlice", written | {"endpoints": written["endpoints"][1:]})
    assert found() == [True]
    cluster.put("EndpointSlice", written)
    assert found() == [True, True]
    assert listed() == 1
    cluster.put("Pod", pod("echo-v1", "10.1.0.1", meshed=False))
    assert found() == [False, True]
    assert listed() == 1
