from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import load
from conformance.checks.handshakes import to_proxy
from conformance.checks.mtls import handshake, meshed_to_meshed
from conformance.checks.mtls_judges import Handshake, judge_encrypted
from conformance.checks.peers import versions
from conformance.checks.upheaval import _by_certificate
from conformance.context import Context, NotExpressible, Pod
from conformance.forgery import forge
from fixtures.workloads.traffic import Batch, Record
from reports.errors import UsageProblem
from reports.model import Verdict

POD = Pod("server", "shop", "10.0.0.9", {"spec": {"serviceAccountName": "till"}})
BARE = Batch(url="tls://10.0.0.9:8080", protocol="tls")


def offered(mesh: str, batch: Batch = BARE, settings: dict[str, Any] | None = None) -> Batch:
    return to_proxy(cast("Context", SimpleNamespace(adapter=load(mesh, settings))), POD, batch)


def test_a_handshake_bears_the_marks_by_which_each_mesh_knows_its_own():
    assert offered("istio").alpn == ("istio",)
    assert offered("kuma").alpn == ("kuma",)
    assert offered("linkerd").sni == "till.shop.serviceaccount.identity.linkerd.cluster.local"
    assert offered("refmesh") == offered("none") == offered("cilium") == BARE


def test_requests_still_offer_their_own_protocol():
    assert offered("istio", Batch(url="https://10.0.0.9:8080/")).alpn == ("istio", "http/1.1")


def test_by_the_gateway_api_alone_the_user_says_how_a_proxy_knows_the_meshs_own():
    for said, wanted in (("istio", ("istio",)), ("istio,istio-h2", ("istio", "istio-h2")), ("any", ())):
        for sidecar in ({}, {"proxy": "istio-proxy"}):
            assert offered("gateway-api", settings={**sidecar, "proxy-alpn": said}).alpn == wanted


def test_by_the_gateway_api_alone_a_proxy_may_know_it_by_the_server_name():
    said = {"proxy": "linkerd-proxy", "proxy-named-by-identity": True, "identity": "{service_account}.{namespace}.id"}
    assert offered("gateway-api", settings=said).sni == "till.shop.id"


def test_by_the_gateway_api_alone_the_user_says_where_a_proxy_is_met():
    ambient = shaking("gateway-api", 15008, **{"per-node": True, "proxy-port": 15008, "proxy-alpn": "any"})
    assert handshake(ambient, POD, 8080).at == 15008
    sidecar = shaking("gateway-api", 8080, **{"proxy": "linkerd-proxy", "proxy-port": 4143, "proxy-alpn": "any"})
    assert handshake(sidecar, POD, 8080).at is None, (
        "a sidecar is met at the application's port, and hands on by its own"
    )
    assert sidecar.adapter.proxy.inbound_port == 4143
    with pytest.raises(UsageProblem, match="gateway-api: for proxy-port also name the sidecar's container"):
        load("gateway-api", {"proxy-port": 4143})


ASKED = {"server_certificate": "pem", "client_certificate_requested": True, "version": "TLSv1.3"}


def shaking(mesh: str, asks: int, **settings: Any) -> Any:
    """Whoever is behind one port of a pod asks for a certificate, and the applications are no servers of TLS."""

    def batch(one: Batch) -> list[Record]:
        facts = ASKED if one.url == f"tls://10.0.0.9:{asks}" else None
        return [Record(0.0, 0.1, tls=facts, error="" if facts else "tls")]

    ctx = Context.__new__(Context)
    ctx.adapter = load(mesh, settings)
    vars(ctx)["outsider"] = lambda: SimpleNamespace(batch=batch)
    return ctx


def test_what_guards_a_port_is_met_at_its_own_where_it_leaves_the_applications_alone():
    found = handshake(shaking("cilium", 15008, ztunnel=True), POD, 8080)
    assert found == Handshake(8080, answered=True, client_certificate_requested=True, version="TLSv1.3", at=15008)
    assert found.row["port"] == "8080, by the proxy's 15008"
    assert handshake(shaking("consul", 20000), POD, 8080).at == 20000, "a permissive one hands on what comes to 8080"
    for mesh in ("linkerd", "istio", "refmesh", "none"):
        found = handshake(shaking(mesh, 8080), POD, 8080)
        assert (found.client_certificate_requested, found.at, found.row["port"]) == (True, None, 8080)


def test_old_versions_are_offered_to_what_guards_a_port_too():
    for mesh, settings, port in (("cilium", {"ztunnel": True}, 15008), ("istio", {}, 8080), ("none", {}, 8080)):
        ctx = shaking(mesh, port, **settings)
        vars(ctx)["pod"] = lambda _: POD
        assert {one.taken for one in versions(ctx).hellos} == {"TLSv1.3"}


def test_id_03_shows_certificates_as_the_proxy_knows_the_meshs_own():
    """Where plaintext is taken too, it would hand on what has no such marks to an application that has no TLS."""
    asked: list[Batch] = []

    def batch(one: Batch) -> list[Record]:
        asked.append(one)
        return []

    ctx = SimpleNamespace(
        adapter=load("istio"),
        pod=lambda _: POD,
        outsider=lambda: SimpleNamespace(batch=batch),
        counting=lambda _, traffic: (traffic(), 0),
    )
    _by_certificate(cast("Context", ctx), "a certificate below the new root", forge("spiffe://a"), welcome=True)
    assert [one.alpn for one in asked] == [("istio", "http/1.1")]


class Clear:
    """Meshed pods of which nothing is encrypted."""

    def __init__(self, mesh: str, **settings: Any) -> None:
        self.ctx = shaking(mesh, 0, **settings)
        self.ctx.kube = cast("Any", None)
        self.ctx.applied = []
        vars(self.ctx).update(
            space=lambda place: place,
            url=lambda *_: "http://server:8080/",
            pod=lambda _: POD,
            client=lambda: SimpleNamespace(batch=self.batch),
            sniff=self.sniff,
        )

    def batch(self, batch: Batch) -> list[Record]:
        return [Record(0.0, 0.1, status=200, reply={"body": batch.body}) for _ in range(cast("int", batch.count))]

    def sniff(self, _pod: Pod, _port: int, _marker: str, traffic: Any) -> dict[str, Any]:
        return {"records": traffic(), "packets": 60, "tls_records": 0, "plaintext_hits": 20}


@pytest.mark.parametrize(
    ("mesh", "settings", "reason"),
    [
        ("cilium", {}, "--set ztunnel=true"),
        ("gateway-api", {"namespace-labels": "istio-injection=enabled"}, "--set proxy-alpn=PROTOCOL"),
        ("gateway-api", {"identity": "x://{namespace}", "proxy": "istio-proxy"}, "--set proxy-alpn=PROTOCOL"),
    ],
)
def test_a_mesh_without_mtls_is_not_blamed_for_traffic_in_clear(mesh, settings, reason):
    with pytest.raises(NotExpressible, match=reason):
        meshed_to_meshed(Clear(mesh, **settings).ctx)


@pytest.mark.parametrize(
    ("mesh", "settings"),
    [
        ("none", {}),
        ("refmesh", {}),
        ("istio", {}),
        ("linkerd", {}),
        ("kuma", {}),
        ("consul", {}),
        ("cilium", {"ztunnel": True}),
        ("gateway-api", {"proxy-alpn": "istio"}),
        ("gateway-api", {"proxy": "linkerd-proxy", "proxy-named-by-identity": True}),
    ],
)
def test_whoever_has_mtls_is_and_so_is_no_mesh(mesh, settings):
    found = judge_encrypted(meshed_to_meshed(Clear(mesh, **settings).ctx))
    assert found.verdict is Verdict.FAIL
    assert "in clear" in found.reason
