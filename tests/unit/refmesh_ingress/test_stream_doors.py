"""Connections that are not looked into, at Gateways of both APIs: TLS by SNI, and TCP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from refmesh.api.fields import Invalid
from refmesh.api.stream_route import TCPRoute, TLSRoute
from refmesh.config.status import wanted_status
from refmesh.discovery.doors import GatewayPort
from refmesh.discovery.gateways import ports_of
from refmesh.discovery.names import BLACK_HOLE
from refmesh.discovery.resource import ResourceType
from refmesh.ingress.objects import gateway_objects
from refmesh.injector.containers import Config
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, policy
from tests.unit.refmesh_ingress.classic_doors import DOOR, WEB, istio_gateway, ports, secure, virtual, with_door
from tests.unit.refmesh_ingress.doorways import HTTP, key_pair, listener, opened, serving, with_gateway
from tests.unit.refmesh_ingress.test_gateway_proxies import DOOR as FRONT
from tests.unit.refmesh_ingress.test_gateway_proxies import envoy_accepts

NOW = "2026-01-01T00:00:00Z"
ECHO = "echo.shop.svc.cluster.local"
NINETY, SEVENTY = f"outbound|90||{ECHO}", f"outbound|70||{ECHO}"


def tls(name: str, hostname: str = "", port: int = 443) -> dict[str, Any]:
    made = listener(name, port, protocol="TLS", tls={"mode": "Passthrough"})
    return {**made, "hostname": hostname} if hostname else made


def tcp(name: str = "tcp", port: int = 9000) -> dict[str, Any]:
    return listener(name, port, protocol="TCP")


def stream(name: str, *hostnames: str, backends: dict[int, int] | None = None, **more: Any) -> dict[str, Any]:
    """A TLSRoute, or without host names a TCPRoute, to ports of echo by weight."""
    section = {"sectionName": more.pop("section")} if "section" in more else {}
    shares = (backends or {90: 1}).items()
    refs = [{"name": "echo", "namespace": "shop", "port": port, "weight": weight} for port, weight in shares]
    spec: dict[str, Any] = {"parentRefs": [{"name": "front", **section}], "rules": [{"backendRefs": refs}]}
    return policy(name, {**spec, "hostnames": list(hostnames)} if hostnames else spec, **more)


def led(found: tuple[GatewayPort, ...]) -> dict[int, dict[tuple[str, ...], dict[str, int]]]:
    """By port and server names: clusters by weight."""
    return {
        port.number: {chain.server_names: dict(chain.shares or ()) for chain in port.chains if chain.shares is not None}
        for port in found
    }


def gateway_ports(cluster: MemoryCluster) -> dict[int, dict[tuple[str, ...], dict[str, int]]]:
    return led(ports_of(*opened(cluster)))


def test_a_name_goes_where_its_route_says_and_one_without_a_route_nowhere() -> None:
    cluster = with_gateway(tls("all"), tls("own", "a.example"), tcp())
    cluster.put("TLSRoute", stream("one", "b.example", "*.c.example", backends={90: 9, 70: 1}, section="all"))
    # A name of another listener's is not this one's to give away; and a backend that is none keeps its share.
    cluster.put("TLSRoute", stream("two", "a.example", "x.c.example", backends={70: 1, 99: 3}, section="all"))
    assert gateway_ports(cluster) == {
        443: {
            ("b.example",): {NINETY: 9, SEVENTY: 1},
            ("*.c.example",): {NINETY: 9, SEVENTY: 1},
            ("x.c.example",): {SEVENTY: 1, BLACK_HOLE: 3},
            (): {BLACK_HOLE: 1},
            ("a.example",): {BLACK_HOLE: 1},
        },
        9000: {(): {BLACK_HOLE: 1}},
    }
    cluster.put("TCPRoute", stream("bytes", section="tcp"))
    assert gateway_ports(cluster)[9000] == {(): {NINETY: 1}}


def told(cluster: MemoryCluster, kind: str, raw: dict[str, Any]) -> str:
    """What an attached route hears."""
    key = ("shop", raw["metadata"]["name"])
    found = wanted_status(cluster.put(kind, raw).snapshot(), kind, key, raw, NOW)
    assert found is not None
    (accepted, _) = found["parents"][0]["conditions"]
    assert accepted["status"] == "True"
    return str(accepted["message"])


def parents(cluster: MemoryCluster, kind: str, raw: dict[str, Any]) -> dict[str, tuple[str, str]]:
    key = ("shop", raw["metadata"]["name"])
    found = wanted_status(cluster.put(kind, raw).snapshot(), kind, key, raw, NOW)
    assert found is not None
    (parent,) = found["parents"]
    return {item["type"]: (item["status"], item["reason"]) for item in parent["conditions"]}


def test_statuses_tell_what_is_in_force() -> None:
    ended = {**tls("ended", port=444), "tls": {"mode": "Terminate", "certificateRefs": [{"name": "cert"}]}}
    cluster = serving(with_gateway(HTTP, tls("tls", "*.example"), tcp(), ended))
    good = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    late = "2026-02-01T00:00:00Z"
    assert parents(cluster, "TCPRoute", stream("bytes")) == good
    assert parents(cluster, "TLSRoute", stream("names", "a.example", "b.example")) == good
    assert "TCPRoute shop/bytes is older" in told(cluster, "TCPRoute", stream("late", created=late))
    assert "TLSRoute shop/names is older" in told(cluster, "TLSRoute", stream("late", "a.example", created=late))
    assert told(cluster, "TLSRoute", stream("more", "a.example", "c.example", created=late)) == "the route is in force"
    assert parents(cluster, "TLSRoute", stream("far", "a.org"))["Accepted"] == ("False", "NoMatchingListenerHostname")
    assert parents(cluster, "TLSRoute", stream("plain", "a.example", section="http"))["Accepted"] == (
        "False",
        "NotAllowedByListeners",
    )
    assert parents(cluster, "TCPRoute", stream("gone", backends={99: 1}, created=late))["ResolvedRefs"] == (
        "False",
        "BackendNotFound",
    )
    at_service = stream("mesh")
    at_service["spec"]["parentRefs"] = [{"group": "", "kind": "Service", "name": "echo"}]
    assert parents(cluster, "TCPRoute", at_service)["Accepted"] == ("False", "UnsupportedValue")
    raw = cluster.store.raw["Gateway", ("shop", "front")]
    found = wanted_status(cluster.snapshot(), "Gateway", ("shop", "front"), raw, NOW)
    assert found is not None
    listeners = {
        item["name"]: ([kind["kind"] for kind in item["supportedKinds"]], item["attachedRoutes"])
        for item in found["listeners"]
    }
    assert listeners == {
        "http": (["HTTPRoute", "GRPCRoute"], 0),
        "tls": (["TLSRoute"], 3),
        "tcp": (["TCPRoute"], 3),
        # The official tests: what is not opened supports no kind.
        "ended": ([], 0),
    }
    _, gateway = opened(cluster)
    service = gateway_objects(gateway, Config(image="i", root_pem="r"))[-1]
    assert [port["name"] for port in service["spec"]["ports"]] == ["http-80", "tls-443", "tcp-9000"]


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (TLSRoute, {"hostnames": []}, "spec.hostnames: is required"),
        (TLSRoute, {"hostnames": ["a.*"]}, r"spec.hostnames\[0\]: must be a host name"),
        (TCPRoute, {"rules": []}, "spec.rules: must have exactly one"),
        (TCPRoute, {"rules": [{"backendRefs": []}]}, r"spec.rules\[0\].backendRefs: needs at least one"),
        (TCPRoute, {"rules": [{"filters": []}]}, r"spec.rules\[0\].filters"),
    ],
)
def test_a_bad_route_is_refused_with_its_field(kind: Any, change: dict[str, Any], expected: str) -> None:
    raw = stream("r", "a.example") if kind is TLSRoute else stream("r")
    raw["spec"] |= change
    with pytest.raises(Invalid, match=expected):
        kind.parse(raw, "cluster.local")


# --------------------------------------------------------------------------------------------------------------- Istio
def server(protocol: str, number: int, *hosts: str) -> dict[str, Any]:
    made = {"port": {"number": number, "name": "x", "protocol": protocol}, "hosts": list(hosts)}
    return made if protocol == "TCP" else {**made, "tls": {"mode": "PASSTHROUGH"}}


def streams(name: str, *hosts: str, **more: Any) -> dict[str, Any]:
    """A VirtualService with `tls` and `tcp` routes: lists of (match, port of echo)."""
    spec: dict[str, Any] = {"hosts": list(hosts), "gateways": ["front"]}
    for kind in ("tls", "tcp"):
        rules = [
            {"match": match, "route": [{"destination": {"host": "echo", "port": {"number": port}}}]}
            for match, port in more.pop(kind, ())
        ]
        spec |= {kind: rules} if rules else {}
    return policy(name, spec, **more)


def test_istio_s_routes_lead_connections_by_name_and_port() -> None:
    cluster = with_door(
        ("IstioGateway", istio_gateway(server("TLS", 443, "*.example"), server("TCP", 9000, "*"))),
        ("VirtualService", streams("a", "a.example", "a.org", tls=[([{"sniHosts": ["a.example", "a.org"]}], 90)])),
        (
            "VirtualService",
            streams("b", "*.example", tls=[([{"sniHosts": ["*"]}], 70)], created="2026-02-01T00:00:00Z"),
        ),
        ("VirtualService", streams("c", "*", tcp=[([{"port": 9001}], 80), ([{"port": 9000}], 90)])),
    )
    assert led(ports(cluster)) == {
        443: {("a.example",): {NINETY: 1}, ("*.example",): {SEVENTY: 1}},
        9000: {(): {NINETY: 1}},
    }


def test_names_that_are_passed_and_names_that_are_ended_share_a_port_and_plaintext_does_not() -> None:
    cluster = with_door(
        ("IstioGateway", istio_gateway(server("HTTPS", 443, "a.example"), secure("cert", "a.example", "b.example"))),
        ("IstioGateway", istio_gateway({**WEB, "port": {"number": 443, "protocol": "HTTP"}}, name="late")),
        ("VirtualService", streams("a", "a.example", tls=[([{"sniHosts": ["a.example"]}], 90)])),
        ("VirtualService", virtual("b.example")),
    )
    cluster.store.put_certificate(("refmesh-system", "cert"), key_pair())
    ((port,),) = (ports(cluster),)
    assert [(chain.server_names, chain.passed) for chain in port.chains] == [
        (("a.example",), True),
        (("b.example",), False),
    ]


def test_envoy_accepts_them_and_policies_speak_for_them(tmp_path: Path) -> None:
    cluster = with_gateway(HTTP, tls("all"), tls("own", "a.example"), tcp(), tcp("closed", 9001))
    cluster.put("TLSRoute", stream("one", "b.example", backends={90: 9, 99: 1}))
    cluster.put("TCPRoute", stream("bytes", section="tcp"))
    deny = {"action": "DENY", "rules": [{"from": [{"source": {"ipBlocks": ["192.0.2.0/24"]}}]}]}
    cluster.put("AuthorizationPolicy", policy("outside", deny))
    assert envoy_accepts(cluster, FRONT, tmp_path) == {f"0.0.0.0_{port}" for port in (80, 443, 9000, 9001)}
    for name, message in all_messages(cluster.world(), FRONT, ResourceType.LISTENER).items():
        if name != "0.0.0.0_80":
            for chain in MessageToDict(message)["filterChains"]:
                assert [item["name"].rpartition(".")[2] for item in chain["filters"]] == ["rbac", "tcp_proxy"]


def test_envoy_accepts_istio_s(tmp_path: Path) -> None:
    servers = (server("TLS", 443, "*"), secure("cert", "b.example"), server("TCP", 9000, "*"))
    cluster = with_door(
        ("IstioGateway", istio_gateway(*servers)),
        ("VirtualService", streams("a", "*", tls=[([{"sniHosts": ["a.example"]}], 90), ([{"sniHosts": ["*"]}], 70)])),
        ("VirtualService", streams("c", "*", tcp=[([], 90)])),
        ("VirtualService", virtual("b.example")),
    )
    cluster.store.put_certificate(("refmesh-system", "cert"), key_pair())
    assert envoy_accepts(cluster, DOOR, tmp_path) == {"0.0.0.0_443", "0.0.0.0_9000"}
