from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.adapters import load
from conformance.detection import SIGNS, Deployment, GatewayClass, Seen, propose
from conformance.profiles import PROFILES
from conformance.survey import look, only_mesh
from reports.errors import EnvironmentProblem

ISTIO = Seen(
    groups={"networking.istio.io": ("DestinationRule", "VirtualService"), "gateway.networking.k8s.io": ("HTTPRoute",)},
    webhooks=("istio-sidecar-injector",),
    classes=(GatewayClass("istio", "istio.io/gateway-controller", True),),
    deployments=(Deployment("istio-system", "istiod", "1.28.0", True), Deployment("shop", "web", "v1", True)),
    gateway_api="v1.4.0",
)


CILIUM = "io.cilium/gateway-controller"


def shown(namespace: str, name: str, group: str, kind: str = "Any", version: str = "") -> Seen:
    return Seen(groups={group: (kind,)}, deployments=(Deployment(namespace, name, version, True),))


def only(seen: Seen):
    (proposal,) = propose(seen)
    return proposal


def test_a_usual_istio_needs_no_settings():
    found = only(ISTIO)
    assert found.flags == ("--mesh", "istio", "--profile", "full")
    assert found.because[0] == "Deployment istio-system/istiod, 1.28.0"
    assert "webhook istio-sidecar-injector" in found.because
    assert not found.problem


def test_a_revision_is_read_from_the_control_planes_name():
    seen = replace(ISTIO, deployments=(Deployment("mesh", "istiod-canary", "1.28.0", True),))
    assert only(seen).settings == ("control-plane=mesh/istiod-canary", "revision=canary")


@pytest.mark.parametrize(
    ("mesh", "seen", "settings"),
    [
        ("linkerd", shown("l5d", "linkerd-destination", "policy.linkerd.io"), ("namespace=l5d",)),
        ("kuma", shown("kuma-system", "kuma-control-plane", "kuma.io", version="2.9.1"), ("version=2",)),
        ("kuma", shown("kuma-system", "kuma-control-plane", "kuma.io", "MeshIdentity"), ()),
        ("consul", shown("c", "x-connect-injector", "consul.hashicorp.com"), ("control-plane=c/x-connect-injector",)),
        ("cilium", shown("kube-system", "cilium-operator", "cilium.io"), ()),
        ("refmesh", replace(shown("refmesh-system", "refmesh", "x"), webhooks=("refmesh-injector",)), ()),
    ],
)
def test_every_mesh_shows(mesh, seen, settings):
    found = only(seen)
    assert (found.mesh, found.settings) == (mesh, settings)
    # What is proposed is what the adapter takes.
    assert load(mesh, dict(one.split("=", 1) for one in settings)).name == mesh


def test_a_name_alone_is_no_mesh():
    assert propose(Seen(deployments=(Deployment("shop", "istiod", "", True),))) == ()


def test_refmesh_with_istios_kinds_is_not_istio():
    seen = Seen(
        groups={"networking.istio.io": ("VirtualService",)},
        webhooks=("refmesh-injector",),
        deployments=(Deployment("refmesh-system", "refmesh", "", True),),
    )
    assert only(seen).mesh == "refmesh"


def test_routes_alone_are_judged_by_the_gateway_api():
    found = only(Seen(groups={"gateway.networking.k8s.io": ("HTTPRoute",)}, gateway_api="v1.7.0"))
    assert found.flags == ("--mesh", "gateway-api", "--profile", "routing")


def test_what_cannot_serve_comes_last_and_says_so():
    seen = replace(
        ISTIO,
        groups={**ISTIO.groups, "cilium.io": ()},
        classes=(GatewayClass("cilium", CILIUM, True),),
        deployments=(
            Deployment("istio-system", "istiod", "", False),
            Deployment("kube-system", "cilium-operator", "", True),
        ),
    )
    first, second = propose(seen)
    assert (first.mesh, second.mesh) == ("cilium", "istio")
    assert "not available" in second.problem


def test_a_clusters_network_is_no_mesh_of_its_own():
    operator = Deployment("kube-system", "cilium-operator", "1.19.0", True)
    groups = {**ISTIO.groups, "cilium.io": ("CiliumNetworkPolicy",)}
    seen = replace(ISTIO, groups=groups, deployments=(*ISTIO.deployments, operator))
    mesh, network = propose(seen)
    assert (mesh.mesh, mesh.problem) == ("istio", "")
    assert (network.mesh, network.problem) == (
        "cilium", "no GatewayClass of cilium is accepted: it may be the cluster's network only"
    )  # fmt: skip
    told = replace(seen, classes=(*seen.classes, GatewayClass("cilium", CILIUM, False)))
    assert [one.mesh for one in propose(told) if not one.problem] == ["istio"]
    both = replace(seen, classes=(*seen.classes, GatewayClass("cilium", CILIUM, True)))
    assert [one.mesh for one in propose(both) if not one.problem] == ["istio", "cilium"]


def test_signs_speak_of_known_meshes_and_profiles():
    assert {sign.profile for sign in SIGNS} <= {one.name for one in PROFILES}
    for sign in SIGNS:
        assert load(sign.mesh).control_plane() == sign.usual


class Cluster:
    """What the API server says, by kind."""

    version = "v1.36.0"

    def __init__(self, **found) -> None:
        self.found = found

    def list(self, _: str, kind: str):
        return self.found.get(kind, [])


CLUSTER = Cluster(
    CustomResourceDefinition=[
        {
            "metadata": {
                "name": "httproutes.gateway.networking.k8s.io",
                "annotations": {"gateway.networking.k8s.io/bundle-version": "v1.7.0"},
            },
            "spec": {"group": "gateway.networking.k8s.io", "names": {"kind": "HTTPRoute"}},
        },
        {"metadata": {"name": "x.kuma.io"}, "spec": {"group": "kuma.io", "names": {"kind": "MeshIdentity"}}},
    ],
    MutatingWebhookConfiguration=[{"metadata": {"name": "kuma-admission"}}],
    GatewayClass=[
        {
            "metadata": {"name": "k"},
            "spec": {"controllerName": "gateways.kuma.io/controller"},
            "status": {
                "conditions": [{"type": "Accepted", "status": "True"}],
                "supportedFeatures": [{"name": "HTTPRoute"}],
            },
        }
    ],
    Deployment=[
        {
            "metadata": {"namespace": "kuma-system", "name": "kuma-control-plane"},
            "spec": {"template": {"spec": {"containers": [{"image": "registry:5000/kuma-cp:3.0.1@sha256:abc"}]}}},
            "status": {"availableReplicas": 1},
        }
    ],
)


def test_a_clusters_own_words_become_facts():
    seen = look(CLUSTER)  # type: ignore[arg-type]
    assert seen.gateway_api == "v1.7.0"
    assert seen.classes == (GatewayClass("k", "gateways.kuma.io/controller", True, ("HTTPRoute",)),)
    assert seen.deployments == (Deployment("kuma-system", "kuma-control-plane", "3.0.1", True),)
    found = only_mesh(CLUSTER)  # type: ignore[arg-type]
    assert found.mesh == "kuma"
    assert "GatewayClass k" in found.because


def test_no_mesh_is_said_in_one_sentence():
    with pytest.raises(EnvironmentProblem, match="no mesh that is known here"):
        only_mesh(Cluster())  # type: ignore[arg-type]
