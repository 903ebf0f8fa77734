from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from conformance.adapters import Authority, Rendered, load
from conformance.adapters.base import Proxy
from conformance.catalogue import grounds
from conformance.certificates import secure_channel
from conformance.checks.upheaval import _away
from conformance.context import Context, NotExpressible
from conformance.ground import Svc, render_ground, service_of
from conformance.intents import (
    Access,
    CertificateRequest,
    Effect,
    Inject,
    MeshMtlsMode,
    Mode,
    MtlsMode,
    NoInject,
    Scope,
    WayOut,
)
from fixtures.kube import Kube
from refmesh.api.selection import EVERYTHING
from refmesh.api.sidecar import Sidecar
from reports.errors import EnvironmentProblem, UsageProblem

REFMESH = {
    "control-plane": "refmesh-system/refmesh",
    "control-plane-app": "refmesh",
    "proxy": "refmesh-proxy",
    "root-certificates": "refmesh-system/refmesh-ca-root-cert",
    "shortest-certificate": "10",
    "longest-certificate": "86400",
    "discovery-port": "15011",
    "rejections-counter": "refmesh_nacks_total",
}


KNOWING = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Sidecar",
    "metadata": {"name": "every-service"},
    "spec": {"egress": [{"hosts": ["*/*"]}]},
}


KNOWN = "networking.istio.io/exportTo"


def test_services_are_told_to_the_namespaces_of_their_ground_whatever_is_exported_by_default_and_to_no_others():
    for mesh in ("istio", "refmesh"):
        for ground in grounds():
            layers = render_ground(ground, load(mesh), run="r", image="i")
            spaces = ",".join(layer.namespace for layer in layers)
            made = [item for layer in layers for item in layer.objects if item["kind"] == "Service"]
            assert [item["metadata"]["annotations"] for item in made] == [{KNOWN: spaces}] * len(made)
    without = service_of(Svc("web", "in", "web"), "ns", load("linkerd"), callers=["ns"])
    assert "annotations" not in without["metadata"]


def test_the_pods_of_every_meshed_namespace_know_those_of_others_whatever_a_sidecar_for_the_mesh_says():
    """By one Sidecar without a workload, as of two of them nobody knows which holds; a check's own has a workload."""
    istio = load("istio")
    for ground in grounds():
        layers = render_ground(ground, istio, run="r", image="i")
        for place, layer in zip(ground.places, layers, strict=True):
            found = [item for item in layer.objects if item["kind"] == "Sidecar"]
            assert found == ([KNOWING] if place.meshed else []), layer.namespace
            assert [item for item in layer.asked if item["kind"] == "Sidecar"] == found
    for only in (True, False):
        told = istio.render(WayOut("ns", "client", registered_only=only))
        assert isinstance(told, Rendered)
        assert told.objects[0]["spec"]["workloadSelector"] == {"labels": {"app": "client"}}


def test_without_settings_it_is_istio_as_its_defaults_install_it():
    istio = load("istio")
    assert istio.control_plane() == ("istio-system", "istiod")
    assert istio.proxy == Proxy("istio-proxy", 15000, ("istio",))
    assert istio.render(CertificateRequest("ns", "sa")) == Rendered(
        authority=Authority(
            "istio-system", "app=istiod", 15012, "istio-ca", "istiod.istio-system.svc",
            ("istio-system", "istio-ca-root-cert", "root-cert.pem"), 10, discovery=15012,
            rejections=(15014, "/metrics", "pilot_total_xds_rejects"),
        )
    )  # fmt: skip
    assert istio.identity("ns", "sa") == "spiffe://cluster.local/ns/ns/sa/sa"


def test_the_roots_are_where_the_control_plane_is():
    found = load("istio", {"control-plane": "mesh/istiod"}).render(CertificateRequest("ns", "sa"))
    assert isinstance(found, Rendered)
    assert found.authority is not None
    assert found.authority.roots == ("mesh", "istio-ca-root-cert", "root-cert.pem")


def test_what_holds_for_the_whole_mesh_is_in_its_root_namespace():
    for settings, root in (({}, "istio-system"), ({"root-namespace": "policies"}, "policies")):
        istio = load("istio", settings)
        strict = istio.render(MeshMtlsMode(Mode.STRICT))
        allowed = istio.render(Access("some", "ns", "web", Effect.ALLOW, ()))
        assert isinstance(strict, Rendered)
        assert isinstance(allowed, Rendered)
        assert [one["metadata"]["namespace"] for one in strict.objects] == [root]
        assert [one.namespace for one in allowed.rivals] == [root]
        looked_at: list[str] = []
        plane = {"metadata": {"name": "istiod"}, "status": {"availableReplicas": 1}}

        def listed(_: str, __: str, space: str, looked_at: list[str] = looked_at) -> list[dict[str, object]]:
            looked_at.append(space)
            return []

        assert istio.problem(cast("Kube", SimpleNamespace(get=lambda *_, plane=plane: plane, list=listed))) == ""
        assert looked_at == [root]


def test_a_revision_is_opted_into_by_its_label():
    istio = load("istio", {"revision": "canary", "control-plane": "istio-system/istiod-canary"})
    assert istio.render(Inject(Scope.NAMESPACE)) == Rendered(
        labels={"istio.io/rev": "canary"}, objects=(KNOWING,), exports=KNOWN
    )
    assert istio.render(Inject(Scope.POD)) == Rendered(
        labels={"istio.io/rev": "canary", "sidecar.istio.io/inject": "true"}
    )
    assert istio.render(NoInject(Scope.POD)) == Rendered(labels={"sidecar.istio.io/inject": "false"})
    found = istio.render(CertificateRequest("ns", "sa"))
    assert isinstance(found, Rendered)
    assert found.authority is not None
    assert found.authority.selector == "app=istiod,istio.io/rev=canary"
    assert found.authority.server_name == "istiod-canary.istio-system.svc"


def test_where_nobody_asks_for_retries_an_istios_own_for_the_whole_mesh_are_set_aside():
    """By `defaultHttpRetryPolicy` of its mesh config; refmesh has none, and must be told nothing of it."""
    ground = next(one for one in grounds() if one.name == "rs")
    for mesh, wanted in (("istio", ["plain"]), ("refmesh", [])):
        layers = render_ground(ground, load(mesh), run="r", image="i")
        (layer,) = (one for one in layers if one.namespace.endswith("in"))
        found = [one for one in layer.objects if one["kind"] == "VirtualService"]
        assert [one["metadata"]["name"] for one in found] == wanted
        for one in found:
            route = {"route": [{"destination": {"host": "plain"}}], "retries": {"attempts": 0}}
            assert one["spec"] == {"hosts": ["plain"], "http": [route]}


@pytest.mark.parametrize(
    ("plane", "selector"), [("istiod-1-30", "app=istiod,istio.io/rev=1-30"), ("istiod", "app=istiod")]
)
def test_by_a_tag_the_authority_is_found_by_the_revision_that_its_pods_have(plane, selector):
    istio = load("istio", {"revision": "prod-stable", "control-plane": f"istio-system/{plane}"})
    assert istio.render(Inject(Scope.NAMESPACE)) == Rendered(
        labels={"istio.io/rev": "prod-stable"}, objects=(KNOWING,), exports=KNOWN
    )
    found = istio.render(CertificateRequest("ns", "sa"))
    assert isinstance(found, Rendered)
    assert found.authority is not None
    assert found.authority.selector == selector
    kube = SimpleNamespace(list=lambda *_: [], get=lambda *_: None)
    with (
        pytest.raises(EnvironmentProblem, match=f"no running pod {selector} in istio-system"),
        secure_channel(cast("Kube", kube), found.authority, 15012),
    ):
        pass


def test_another_authority_is_asked_in_place_of_the_control_plane_and_stays_when_that_is_away():
    """As cert-manager's istio-csr is installed by its chart; its roots are where Istio's own would be."""
    istio = load("istio", {"authority": "cert-manager/cert-manager-istio-csr"})
    assert istio.render(CertificateRequest("ns", "sa")) == Rendered(
        authority=Authority(
            "cert-manager", "app=cert-manager-istio-csr", 6443, "istio-ca", "cert-manager-istio-csr.cert-manager.svc",
            ("istio-system", "istio-ca-root-cert", "root-cert.pem"), 10, apart=True,
        )
    )  # fmt: skip
    deployment = {"kind": "Deployment"}
    pod = {"metadata": {"name": "client", "namespace": "in"}, "spec": {}, "status": {}}
    kube = SimpleNamespace(get=lambda *_: deployment, wait_pods_ready=lambda *_, **__: [pod])
    ctx = SimpleNamespace(adapter=istio, kube=kube, space=lambda _: "in", render=istio.render)
    with pytest.raises(NotExpressible, match="another authority"), _away(cast("Context", ctx)):
        pass


def test_settings_lead_to_any_mesh_that_speaks_istios_api():
    istio, refmesh = load("istio", REFMESH), load("refmesh")
    for intent in (CertificateRequest("ns", "sa"), MtlsMode("ns", Mode.STRICT), Inject(Scope.POD)):
        assert istio.render(intent) == refmesh.render(intent)
    opted_in = istio.render(Inject(Scope.NAMESPACE))
    assert isinstance(opted_in, Rendered)
    assert replace(opted_in, objects=()) == refmesh.render(Inject(Scope.NAMESPACE))
    # What Istio is told besides, refmesh takes and does anyway.
    said = Sidecar.parse({**KNOWING, "metadata": {"name": "every-service", "namespace": "ns"}}, "cluster.local")
    assert (said.selection, said.allow_unknown) == (EVERYTHING, None)
    assert istio.proxy is not None
    assert replace(istio.proxy, alpn=()) == refmesh.proxy  # refmesh takes any handshake for its own
    assert istio.control_plane() == refmesh.control_plane()


def test_the_trust_domain_is_a_setting_of_every_mesh_with_identities():
    for name in ("istio", "refmesh"):
        assert load(name, {"trust-domain": "example.org"}).identity("ns", "sa") == "spiffe://example.org/ns/ns/sa/sa"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trust-domian": "x"}, "there is no setting trust-domian"),
        ({"control-plane": "istiod"}, "control-plane: give it as namespace/name"),
        ({"trust-domain": 3}, "trust-domain: give text (in quotes)"),
        ({"proxy": [], "nope": 1}, "proxy: give text (in quotes); there is no setting nope"),
    ],
)
def test_each_bad_setting_is_named(settings, said):
    with pytest.raises(UsageProblem) as caught:
        load("istio", settings)
    assert said in caught.value.problem
    assert "known settings: authority, authority-port, control-plane, " in caught.value.fix


def test_a_mesh_without_settings_refuses_them():
    with pytest.raises(UsageProblem, match="the mesh none takes no settings, and was given trust-domain"):
        load("none", {"trust-domain": "x"})
