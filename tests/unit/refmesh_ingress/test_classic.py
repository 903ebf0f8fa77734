"""Istio's Gateways and VirtualServices at a workload that is there already."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.api.istio_gateway import IstioGateway
from refmesh.api.kinds import KINDS, parse
from refmesh.api.meta import Rejected
from refmesh.config.admission import kind_of, problem
from refmesh.config.ingress import wanted_certificates
from refmesh.discovery.resource import ResourceType
from refmesh.ingress.objects import classic_objects
from refmesh.injector.containers import Config
from tests.unit.refmesh_discovery.helpers import all_messages, endpoint_slice, pod, policy
from tests.unit.refmesh_ingress.classic_doors import DOOR, WEB, hosts, istio_gateway, ports, secure, virtual, with_door
from tests.unit.refmesh_ingress.doorways import key_pair


def test_the_classic_pair_opens_a_port() -> None:
    cluster = with_door(("IstioGateway", istio_gateway()), ("VirtualService", virtual("*")))
    assert hosts(ports(cluster)) == {80: {"*"}}
    assert set(all_messages(cluster.world(), DOOR, ResourceType.LISTENER)) == {"0.0.0.0_80"}
    # Sidecars have no part in it.
    assert ports(cluster, ("shop", "echo-v1")) == ()


def test_hosts_are_those_that_both_speak_of() -> None:
    limited = {**WEB, "hosts": ["*.example.com", "./own.org", "far/far.org"]}
    names = ("a.example.com", "own.org", "far.org", "other.org")
    cluster = with_door(("IstioGateway", istio_gateway(limited)), ("VirtualService", virtual(*names)))
    assert hosts(ports(cluster)) == {80: {"a.example.com", "own.org"}}


@pytest.mark.parametrize(
    "bystander",
    [
        virtual("api.a.com", name="other", gateways=()),
        virtual("api.a.com", name="other", gateways=("mesh",)),
        virtual("api.a.com", name="other", gateways=("far/front",)),
        virtual("api.a.com", name="other", gateways=("front", "mesh"), match=[{"gateways": ["mesh"]}]),
        policy(
            "other",
            {
                "hosts": ["api.a.com"],
                "gateways": ["front"],
                "tls": [{"match": [{"sniHosts": ["api.a.com"]}], "route": [{"destination": {"host": "echo"}}]}],
            },
        ),
    ],
)
def test_who_says_nothing_of_requests_at_a_gateway_takes_no_host_there_from_others(bystander: dict[str, Any]) -> None:
    mine = ("VirtualService", virtual("*.a.com"))
    cluster = with_door(("IstioGateway", istio_gateway()), mine, ("VirtualService", bystander))
    assert hosts(ports(cluster)) == {80: {"*.a.com"}}


def test_what_holds_for_every_request_stands_behind_what_younger_ones_ask_for() -> None:
    def rules(name: str, created: str, *matches: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        route = [{"destination": {"host": "echo", "port": {"number": 80}}}]
        http = [{"name": f"{name}{place}", "match": match, "route": route} for place, match in enumerate(matches)]
        return "VirtualService", policy(
            name, {"hosts": ["a.com"], "gateways": ["front"], "http": http}, created=f"2026-0{created}-01T00:00:00Z"
        )

    cluster = with_door(
        ("IstioGateway", istio_gateway()),
        # What follows its own catch-all is asked for by nobody.
        rules("old", "1", [{"uri": {"prefix": "/old"}}, {"uri": {"regex": ".*"}}], [{"uri": {"prefix": "/never"}}]),
        rules("young", "2", [{"uri": {"prefix": "/"}, "method": {"exact": "GET"}}], [{"uri": {"prefix": "/api"}}]),
        rules("last", "3", [], [{"uri": {"prefix": "/unheard"}}]),
    )
    ((site,),) = (chain.sites for port in ports(cluster) for chain in port.chains)
    found = [(rule.name, [match.path and match.path.value for match in rule.matches]) for rule in site.rules]
    assert found == [("old0", ["/old"]), ("young0", ["/"]), ("young1", ["/api"]), ("old0", [".*"]), ("last0", [])]


def test_a_host_led_to_https_by_one_server_is_led_there_whatever_is_routed_by_another() -> None:
    led = istio_gateway({**WEB, "tls": {"httpsRedirect": True}}, name="led", created="2026-02-01T00:00:00Z")
    mine = virtual("*", match=[{"uri": {"prefix": "/api"}}])
    cluster = with_door(("IstioGateway", istio_gateway()), ("IstioGateway", led), ("VirtualService", mine))
    ((site,),) = (chain.sites for port in ports(cluster) for chain in port.chains)
    assert [rule.redirect is not None for rule in site.rules] == [True]


def test_a_route_that_leads_to_https_itself_leaves_the_others_of_its_host_alone() -> None:
    """As certificates are asked for: the challenge's path to its solver, all else to HTTPS."""
    rest = virtual("a.com", name="rest")
    rest["spec"]["http"] = [{"redirect": {"scheme": "https"}}]
    solver = virtual("a.com", match=[{"uri": {"prefix": "/.well-known/acme-challenge/"}}])
    cluster = with_door(("IstioGateway", istio_gateway()), ("VirtualService", rest), ("VirtualService", solver))
    ((site,),) = (chain.sites for port in ports(cluster) for chain in port.chains)
    assert [rule.redirect is not None for rule in site.rules] == [False, True]


def test_a_match_for_another_gateway_or_port_or_client_does_not_hold() -> None:
    for match, count in (
        ({"gateways": ["front"]}, 1),
        ({"gateways": ["mesh"]}, 0),
        ({"port": 80}, 1),
        ({"port": 81}, 0),
        ({"sourceLabels": {"app": "x"}}, 0),
    ):
        cluster = with_door(("IstioGateway", istio_gateway()), ("VirtualService", virtual("*", match=[match])))
        ((port,),) = (ports(cluster),)
        assert sum(len(site.rules) for site in port.chains[0].sites) == count


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("front", True),
        ("./front", True),
        ("shop/front", True),
        ("front.shop", True),
        ("front.shop.svc", True),
        ("front.shop.svc.cluster.local", True),
        ("front.far", False),
        ("far/front", False),
        ("./front.shop", False),
    ],
)
def test_a_gateway_may_be_called_as_in_istio(name: str, found: bool) -> None:
    mine = virtual("a.com", gateways=(name, "mesh"), match=[{"gateways": [name]}])
    cluster = with_door(("IstioGateway", istio_gateway()), ("VirtualService", mine))
    assert hosts(ports(cluster)) == {80: {"a.com"} if found else set()}


def test_a_secret_is_beside_the_workload_and_only_it_gets_the_key() -> None:
    cluster = with_door(
        ("IstioGateway", istio_gateway(secure("cert", "a.com"), secure("cert", "*"), secure("none", "b.com"))),
        ("VirtualService", virtual("*")),
    )
    assert wanted_certificates(cluster.snapshot()) == {("refmesh-system", "cert"), ("refmesh-system", "none")}
    assert ports(cluster) == ()
    cluster.store.put_certificate(("refmesh-system", "cert"), key_pair())
    (port,) = ports(cluster)
    assert [chain.server_names for chain in port.chains] == [("a.com",), ()]
    world = cluster.world()
    assert set(all_messages(world, DOOR, ResourceType.SECRET)) == {"kubernetes://refmesh-system/cert"}
    assert set(all_messages(world, ("shop", "echo-v1"), ResourceType.SECRET)) == set()


def test_who_comes_behind_a_service_later_is_known_to_a_gateway_that_was_there_before() -> None:
    cluster = with_door(("IstioGateway", istio_gateway()), ("VirtualService", virtual("*")))
    late = [pod("echo-v1", "10.1.0.1", account="late")]

    def trusts() -> bool:
        world = cluster.world()
        table = world.own(world.snapshot.pods[DOOR])[ResourceType.CLUSTER]
        return b"sa/late" in table["outbound|80||echo.shop.svc.cluster.local"].wire

    assert not trusts()
    cluster.put("Pod", *late).put("EndpointSlice", endpoint_slice("echo", late))
    assert trusts()


def test_a_redirect_to_https() -> None:
    cluster = with_door(("IstioGateway", istio_gateway({**WEB, "tls": {"httpsRedirect": True}})))
    (port,) = ports(cluster)
    (rule,) = port.chains[0].sites[0].rules
    assert rule.redirect is not None
    assert (rule.redirect.scheme, rule.redirect.status) == ("https", 301)


def test_of_two_that_want_a_port_differently_the_oldest_decides() -> None:
    late = secure("cert", "*")
    late["port"]["number"] = 80
    young = istio_gateway(late, name="young", created="2026-02-01T00:00:00Z")
    cluster = with_door(("IstioGateway", istio_gateway()), ("IstioGateway", young), ("VirtualService", virtual("*")))
    assert hosts(ports(cluster)) == {80: {"*"}}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({**WEB, "hosts": []}, "spec.servers[0].hosts: needs at least one entry"),
        ({**WEB, "hosts": ["a.*"]}, "spec.servers[0].hosts[0]: must be *"),
        ({**WEB, "port": {"number": 80, "protocol": "UDP"}}, "spec.servers[0].port.protocol: must be one of"),
        ({**WEB, "port": {"number": 80, "protocol": "TCP"}, "tls": {"mode": "SIMPLE"}}, "spec.servers[0].tls: has no"),
        ({**secure("c", "*"), "tls": {"mode": "AUTO_PASSTHROUGH"}}, "spec.servers[0].tls.mode: AUTO_PASSTHROUGH is"),
        ({**WEB, "port": {"number": 9, "protocol": "TLS"}, "tls": {"mode": "SIMPLE"}}, "spec.servers[0].tls.mode: SI"),
        ({**secure("c", "*"), "tls": {"credentialName": "c"}}, "spec.servers[0].tls.credentialName: has no meaning"),
        ({**secure("c", "*"), "tls": {"mode": "OPTIONAL_MUTUAL"}}, "spec.servers[0].tls.mode: OPTIONAL_MUTUAL is not"),
        ({**secure("c", "*"), "tls": {"mode": "SIMPLE"}}, "spec.servers[0].tls.credentialName: is required"),
        ({**WEB, "tls": {"mode": "SIMPLE"}}, "spec.servers[0].tls: has no meaning for protocol HTTP"),
    ],
)
def test_what_cannot_be_done_is_refused(server: dict[str, Any], expected: str) -> None:
    obj = istio_gateway(server) | {"apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway"}
    kind = kind_of(obj)
    assert kind is not None
    assert kind.read == IstioGateway.parse
    assert problem(kind, obj, "cluster.local").startswith(expected)


def test_a_wildcard_may_stand_for_gateways_and_for_the_mesh_as_a_first_label() -> None:
    kind = next(kind for kind in KINDS if kind.name == "VirtualService")
    for gateways in (("front",), ("front", "mesh"), ()):
        assert not isinstance(parse(kind, virtual("*.a.com", gateways=gateways), "cluster.local"), Rejected)
        assert isinstance(parse(kind, virtual("a.*.com", gateways=gateways), "cluster.local"), Rejected)


def test_the_workload_has_the_labels_that_samples_select() -> None:
    account, deployment, service = classic_objects("refmesh-system", Config("mesh:1", "ROOT"))
    assert deployment["spec"]["template"]["metadata"]["labels"]["istio"] == "ingressgateway"
    assert service["spec"]["selector"] == {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    assert account["metadata"]["name"] == service["metadata"]["name"] == "istio-ingressgateway"
