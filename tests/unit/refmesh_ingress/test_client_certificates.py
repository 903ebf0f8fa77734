"""Servers of Istio's Gateways that ask clients for a certificate, and what else could let somebody in."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from refmesh.config.certificates import certificate_of
from refmesh.config.classic_servers import closed_servers
from refmesh.config.ingress import wanted_certificates
from refmesh.config.model import ABSENT, Certificate
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.helpers import all_messages
from tests.unit.refmesh_ingress.classic_doors import DOOR, istio_gateway, mutual, ports, secure, virtual, with_door
from tests.unit.refmesh_ingress.doorways import key_pair


def test_clients_must_show_a_certificate_where_that_is_asked_for() -> None:
    cluster = with_door(
        ("IstioGateway", istio_gateway(mutual("cert", "a.example.com"), secure("open", "*.example.com"))),
        ("VirtualService", virtual("*")),
    )
    cert, beside, public = (("refmesh-system", name) for name in ("cert", "cert-cacert", "open"))
    assert wanted_certificates(cluster.snapshot()) == {cert, beside, public}
    for key in (cert, public):
        cluster.store.put_certificate(key, key_pair())
    # Without CA certificates nobody gets in, nor by the other name.
    ((chain,),) = (port.chains for port in ports(cluster))
    assert {site.domain: site.misdirected for site in chain.sites} == {"*.example.com": False, "a.example.com": True}
    roots = TestAuthority().trust_bundle_pem().decode()
    cluster.store.put_certificate(cert, replace(key_pair(), roots=roots))
    cluster.store.put_certificate(beside, ABSENT)
    (port,) = ports(cluster)
    assert [chain.roots for chain in port.chains] == ["kubernetes://refmesh-system/cert#ca", ""]
    cluster.store.put_certificate(beside, Certificate(problem="has no tls.crt", roots=roots))
    (port,) = ports(cluster)
    name = "kubernetes://refmesh-system/cert-cacert#ca"
    assert [chain.roots for chain in port.chains] == [name, ""]
    assert [site.domain for site in port.chains[0].sites] == ["a.example.com"]
    world = cluster.world()
    secrets = all_messages(world, DOOR, ResourceType.SECRET)
    assert secrets[name].validation_context.trusted_ca.inline_bytes.decode() == roots
    assert set(all_messages(world, ("shop", "echo-v1"), ResourceType.SECRET)) == set()
    (listener,) = all_messages(world, DOOR, ResourceType.LISTENER).values()
    contexts = [DownstreamTlsContext(), DownstreamTlsContext()]
    for context, made in zip(contexts, listener.filter_chains, strict=True):
        assert made.transport_socket.typed_config.Unpack(context)
    assert [context.require_client_certificate.value for context in contexts] == [True, False]
    assert contexts[0].common_tls_context.validation_context_sds_secret_config.name == name


def test_ca_certificates_are_read_beside_a_certificate_or_alone() -> None:
    pair, roots = key_pair(), TestAuthority().trust_bundle_pem().decode()

    def secret(**data: str) -> dict[str, Any]:
        return {"data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}}

    whole = {"tls.crt": pair.chain, "tls.key": pair.key, "ca.crt": roots}
    assert certificate_of(secret(**whole)) == replace(pair, roots=roots)
    broken = certificate_of(secret(**{**whole, "ca.crt": "none"}))
    assert broken == replace(pair, roots_problem="has a ca.crt that is no PEM certificate")
    for name in ("ca.crt", "cacert"):
        assert certificate_of(secret(**{name: roots})) == Certificate(problem="has no tls.crt", roots=roots)
    # Istio takes the second where there are both.
    assert certificate_of(secret(**{**whole, "ca.crt": "none", "cacert": roots})) == replace(pair, roots=roots)
    for name in ("ca.crl", "crl"):
        why = f"has a {name}, and refmesh reads no revocation lists"
        assert certificate_of(secret(**whole, **{name: "any"})) == replace(pair, roots_problem=why)
    assert certificate_of(None) == ABSENT


CERT, BESIDE, OPEN = (("refmesh-system", name) for name in ("cert", "cert-cacert", "open"))
Sites = dict[str, bool]


def chains_of(*gateways: dict[str, Any], named: str = "*", usable: bool = True) -> dict[tuple[str, ...], Sites]:
    """By SNI the sites of each chain that asks for no certificate, and whether requests for them are sent elsewhere.

    A VirtualService for `named` and b.example.com is bound to all the Gateways, which are in the order of their age.
    """
    names = tuple(obj["metadata"]["name"] for obj in gateways)
    cluster = with_door(("VirtualService", virtual(named, "b.example.com", gateways=names)))
    for number, obj in enumerate(gateways, 1):
        obj["metadata"]["creationTimestamp"] = f"2026-01-0{number}T00:00:00Z"
        cluster.put("IstioGateway", obj)
    roots = TestAuthority().trust_bundle_pem().decode()
    cluster.store.put_certificate(CERT, key_pair())
    cluster.store.put_certificate(OPEN, key_pair())
    cluster.store.put_certificate(BESIDE, Certificate(problem="has no tls.crt", roots=roots if usable else ""))
    return {
        chain.server_names: {site.domain: site.misdirected for site in chain.sites}
        for port in ports(cluster)
        for chain in port.chains
        if not chain.roots
    }


@pytest.mark.parametrize("usable", [True, False])
@pytest.mark.parametrize(
    ("asking", "asking_not", "named", "expected"),
    [
        (
            ["a.example.com"],
            ["a.example.com", "b.example.com"],
            "a.example.com",
            {("b.example.com",): {"b.example.com": False, "a.example.com": True}},
        ),
        (
            ["a.example.com"],
            ["a.example.com", "*.example.com"],
            "a.example.com",
            {("*.example.com",): {"b.example.com": False, "a.example.com": True}},
        ),
        (
            ["*.example.com"],
            ["*", "b.example.com"],
            "a.example.com",
            # Without names of its own the chain gets no connection whose SNI is b.example.com.
            {(): {"*.example.com": True}},
        ),
        (
            ["*.example.com"],
            ["*.com", "b.example.com"],
            "a.example.com",
            {("*.com", "b.example.com"): {"b.example.com": False, "*.example.com": True}},
        ),
        (["*"], ["*", "b.example.com"], "*", {("b.example.com",): {"b.example.com": False, "*": True}}),
        (["a.example.com"], ["a.example.com"], "a.example.com", {}),
    ],
)
def test_no_other_server_lets_in_who_has_no_certificate(
    asking: list[str], asking_not: list[str], named: str, expected: dict[tuple[str, ...], Sites], *, usable: bool
) -> None:
    closed, other = mutual("cert", *asking), secure("open", *asking_not)
    for gateways in (
        [istio_gateway(closed), istio_gateway(other, name="young")],
        [istio_gateway(closed, other)],
    ):
        # As long as nobody can be verified, all is as closed as afterwards.
        assert chains_of(*gateways, named=named, usable=usable) == expected


def test_a_host_that_is_named_by_several_namespaces_is_named_once_to_envoy() -> None:
    assert set(chains_of(istio_gateway(secure("open", "shop/b.example.com", "far/b.example.com")))) == {
        ("b.example.com",)
    }


def test_clients_of_no_other_ca_get_in_while_theirs_is_not_usable() -> None:
    cluster = with_door(
        ("IstioGateway", istio_gateway(mutual("cert", "a.example.com"))), ("VirtualService", virtual("*"))
    )
    roots = TestAuthority().trust_bundle_pem().decode()

    def opened() -> list[str]:
        return [chain.roots for port in ports(cluster) for chain in port.chains]

    cluster.store.put_certificate(CERT, replace(key_pair(), roots=roots))
    assert opened() == []
    # It may be there in a moment.
    assert closed_servers(cluster.snapshot()) == set()
    where = "Gateway shop/front: spec.servers[0] lets nobody in: Secret refmesh-system/"
    for data, why in (
        ({"ca.crt": "bm9uZQ=="}, "has a ca.crt that is no PEM certificate"),
        (
            {"ca.crt": base64.b64encode(roots.encode()).decode(), "ca.crl": "bm9uZQ=="},
            "has a ca.crl, and refmesh reads",
        ),
        ({}, "has no CA certificate for clients"),
    ):
        cluster.store.put_certificate(BESIDE, certificate_of({"data": data}))
        assert opened() == []
        (told,) = closed_servers(cluster.snapshot())
        assert told.startswith(f"{where}cert-cacert {why}")
    cluster.store.put_certificate(BESIDE, ABSENT)
    assert opened() == ["kubernetes://refmesh-system/cert#ca"]
    assert closed_servers(cluster.snapshot()) == set()
    cluster.store.put_certificate(CERT, ABSENT)
    assert closed_servers(cluster.snapshot()) == {f"{where}cert does not exist"}
