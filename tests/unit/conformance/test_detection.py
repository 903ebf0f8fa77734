from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from typer.testing import CliRunner

from conformance.adapters import load
from conformance.detection import SIGNS, Deployment, GatewayClass, Proposal, Seen, instead, propose
from conformance.profiles import PROFILES
from conformance.survey import look, only_mesh
from fixtures.kube import Kube
from meshproof_cli.features import app
from meshproof_cli.ground import _mesh
from meshproof_cli.plan import Options, Plan, Selection
from meshproof_cli.settings import found_mesh, settings_of
from reports.errors import EnvironmentProblem

ISTIO = Seen(
    groups={"networking.istio.io": ("DestinationRule", "VirtualService"), "gateway.networking.k8s.io": ("HTTPRoute",)},
    webhooks=("istio-sidecar-injector",),
    classes=(GatewayClass("istio", "istio.io/gateway-controller", True),),
    deployments=(Deployment("istio-system", "istiod", "1.28.0", True), Deployment("shop", "web", "v1", True)),
    gateway_api="v1.4.0",
)


CILIUM = "io.cilium/gateway-controller"
OPERATOR = Deployment("kube-system", "cilium-operator", "1.19.0", True)
CILIUM_ALONE = Seen(
    groups={"cilium.io": ("CiliumNode",), "gateway.networking.k8s.io": ("HTTPRoute",)},
    classes=(GatewayClass("cilium", CILIUM, True),),
    deployments=(OPERATOR,),
    gateway_api="v1.4.0",
)


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
        ("kuma", shown("kong-mesh-system", "kong-mesh-control-plane", "kuma.io", "MeshIdentity"),
         ("control-plane=kong-mesh-system/kong-mesh-control-plane",)),
        ("consul", shown("c", "x-connect-injector", "consul.hashicorp.com"), ("control-plane=c/x-connect-injector",)),
        ("cilium", shown("kube-system", "cilium-operator", "cilium.io"), ()),
        ("refmesh", replace(shown("refmesh-system", "refmesh", "x"), webhooks=("refmesh-injector",)), ()),
    ],
)  # fmt: skip
def test_every_mesh_shows(mesh, seen, settings):
    found = only(seen)
    assert (found.mesh, found.settings) == (mesh, settings)
    # What is proposed is what the adapter takes.
    assert load(mesh, dict(one.split("=", 1) for one in settings)).name == mesh


def test_what_an_installation_says_of_itself_is_proposed():
    seen = replace(CILIUM_ALONE, deployments=(replace(OPERATOR, states=("ztunnel=true",)),))
    found = only(seen)
    assert found.flags == ("--mesh", "cilium", "--set", "ztunnel=true", "--profile", "full")
    assert found.because[-1] == "it is installed with ztunnel=true"


def test_the_class_of_istios_gateways_may_have_another_name():
    others = (GatewayClass("istio-waypoint", "istio.io/mesh-controller", True), GatewayClass("eg", "eg.example", True))
    mine = GatewayClass("mine", "istio.io/gateway-controller", True)
    assert only(replace(ISTIO, classes=(mine, *others))).settings == ("gateway-class=mine",)
    assert only(replace(ISTIO, classes=(mine, replace(mine, name="second")))).settings == ()


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
    groups = {**ISTIO.groups, "cilium.io": ("CiliumNetworkPolicy",)}
    seen = replace(ISTIO, groups=groups, deployments=(*ISTIO.deployments, OPERATOR))
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

    def list(self, _: str, kind: str, *__: object):
        return self.found.get(kind, [])

    def get(self, _: str, kind: str, name: str, *__: object):
        return next((one for one in self.list("", kind) if one["metadata"]["name"] == name), None)


def kube(cluster: Cluster) -> Kube:
    """As those that ask it take it."""
    return cast("Kube", cluster)


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
    seen = look(kube(CLUSTER))
    assert seen.gateway_api == "v1.7.0"
    assert seen.classes == (GatewayClass("k", "gateways.kuma.io/controller", True, ("HTTPRoute",)),)
    assert seen.deployments == (Deployment("kuma-system", "kuma-control-plane", "3.0.1", True),)
    found = only_mesh(kube(CLUSTER))
    assert found.mesh == "kuma"
    assert "GatewayClass k" in found.because


def deployed(namespace: str, name: str, image: str = "i:1.0") -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
        "status": {"availableReplicas": 1},
    }


def accepted(name: str, controller: str) -> dict[str, object]:
    status = {"conditions": [{"type": "Accepted", "status": "True"}]}
    return {"metadata": {"name": name}, "spec": {"controllerName": controller}, "status": status}


def defined(*names: str) -> list[dict[str, object]]:
    pairs = (name.split("/") for name in names)
    return [{"metadata": {"name": kind}, "spec": {"group": group, "names": {"kind": kind}}} for group, kind in pairs]


class OnCilium(Cluster):
    """Cilium with ztunnel, as its `cilium-config` says."""

    def __init__(self, **config: str) -> None:
        super().__init__(
            CustomResourceDefinition=defined("cilium.io/CiliumNode", "gateway.networking.k8s.io/HTTPRoute"),
            Deployment=[deployed("kube-system", "cilium-operator")],
            GatewayClass=[accepted("cilium", CILIUM)],
            ConfigMap=[
                {"metadata": {"name": "cilium-config"}, "data": {one.replace("_", "-"): v for one, v in config.items()}}
            ],
        )


ZTUNNEL = {"enable_gateway_api": "true", "enable_ztunnel": "true"}


def test_where_cilium_runs_ztunnel_its_adapter_is_told():
    cluster = OnCilium(**ZTUNNEL)
    found = only_mesh(kube(cluster))
    assert found.settings == ("ztunnel=true",)
    assert load("cilium", {"ztunnel": "true"}).problem(kube(cluster)) == ""


def features(monkeypatch, cluster: Cluster, *words: str) -> str:
    monkeypatch.setattr("meshproof_cli.features.existing_cluster", lambda *_: cluster)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_form_of_output_has_the_settings(monkeypatch):
    cluster = OnCilium(**ZTUNNEL)
    assert "meshproof conformance --mesh cilium --set ztunnel=true" in features(monkeypatch, cluster)
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        (proposal,) = read(features(monkeypatch, cluster, "-o", form))["proposals"]
        assert proposal["settings"] == ["ztunnel=true"]
        assert proposal["flags"][2:4] == ["--set", "ztunnel=true"]


OTHER = GatewayClass("other", "other.example/gateways", True)
NETWORK_ONLY = "no GatewayClass of cilium is accepted: it may be the cluster's network only"


def by_routes(seen: Seen, *problems: str):
    """What can be judged instead, where the meshes that were found have these problems too."""
    found = [replace(one, problem=one.problem or why) for one, why in zip(propose(seen), problems, strict=True)]
    return instead(seen, found)


def test_where_no_adapter_can_judge_the_gateway_api_is_proposed_with_its_reason():
    (found,) = by_routes(replace(CILIUM_ALONE, classes=(OTHER,)), "")
    assert found.flags == ("--mesh", "gateway-api", "--profile", "routing")
    assert (found.instead_of, found.problem) == ("cilium", "")
    assert found.because == (
        "the cluster knows HTTPRoute (Gateway API v1.4.0)",
        "GatewayClass other of other.example/gateways is accepted, and does not say whether it serves a mesh",
        f"cilium cannot be judged by its own adapter: {NETWORK_ONLY}",
    )
    (found,) = by_routes(replace(CILIUM_ALONE, classes=(replace(OTHER, features=("Gateway", "Mesh")),)), "")
    assert "GatewayClass other of other.example/gateways serves a mesh" in found.because


STOPPED = replace(OPERATOR, available=False)
DENIED = "a policy lets nobody in"


@pytest.mark.parametrize(
    ("seen", "problems"),
    [
        (Seen(), ()),
        (CILIUM_ALONE, ("",)),  # can be judged
        (replace(CILIUM_ALONE, classes=()), ("",)),  # nobody to serve routes
        (replace(CILIUM_ALONE, classes=(replace(OTHER, accepted=False),)), ("",)),
        (replace(CILIUM_ALONE, deployments=(STOPPED,)), ("",)),  # its class was accepted when it still ran
        (CILIUM_ALONE, ("Gateway API is off",)),
        (replace(CILIUM_ALONE, groups={"cilium.io": ()}, classes=(OTHER,)), ("",)),  # no routes
        (ISTIO, (DENIED,)),  # which holds for its routes too
        (replace(ISTIO, classes=(OTHER,)), ("",)),
    ],
)
def test_nothing_is_proposed_instead_of_what_can_be_judged_or_where_nobody_serves(seen, problems):
    assert by_routes(seen, *problems) == ()


def test_features_asks_the_adapter_and_names_what_remains(monkeypatch):
    cluster = OnCilium(enable_gateway_api="false")
    cluster.found["GatewayClass"].append(accepted("other", "other.example/gateways"))
    told = features(monkeypatch, cluster)
    assert "  but Cilium was installed without Gateway API support" in told
    assert "  instead of cilium, if you choose so; --mesh auto does not" in told
    assert told.rstrip().endswith("meshproof conformance --mesh gateway-api --profile routing")
    first, second = json.loads(features(monkeypatch, cluster, "-o", "json"))["proposals"]
    assert (first["mesh"], second["mesh"], second["instead_of"]) == ("cilium", "gateway-api", "cilium")


@pytest.mark.parametrize("mesh", ["cilium", "istio"])
def test_a_run_that_a_problem_ends_names_what_remains(monkeypatch, mesh):
    cluster = OnCilium(enable_gateway_api="false")
    cluster.found["GatewayClass"].append(accepted("other", "other.example/gateways"))
    here = cast("Any", SimpleNamespace(ready=(None, cluster)))
    with pytest.raises(EnvironmentProblem) as raised:
        _mesh(Plan(Options(mesh=mesh), Selection((), (), ()), "existing", False, False, 1), here, print)
    # On a cluster that has another mesh than the user says, what can be judged is that one's matter.
    assert ("instead: --mesh gateway-api --profile routing" in raised.value.fix) is (mesh == "cilium")


def test_auto_takes_no_other_mesh_in_place_of_one_with_a_problem():
    cluster = OnCilium()
    cluster.found["GatewayClass"] = [accepted("other", "other.example/gateways")]
    with pytest.raises(EnvironmentProblem, match="no mesh that can be judged: cilium: no GatewayClass") as raised:
        only_mesh(kube(cluster))
    assert raised.value.fix.endswith("instead: --mesh gateway-api --profile routing")


def test_auto_takes_no_cluster_for_one_with_a_mesh_that_only_knows_routes():
    """As any does that has another controller's gateways, or the Gateway API by its cloud."""
    for classes in ([], [accepted("nginx", "gateway.nginx.org/nginx-gateway-controller")]):
        cluster = Cluster(
            CustomResourceDefinition=defined("gateway.networking.k8s.io/HTTPRoute"),
            GatewayClass=classes,
            Deployment=[deployed("nginx-gateway", "nginx-gateway")],
        )
        with pytest.raises(EnvironmentProblem, match="no mesh that is known here") as raised:
            only_mesh(kube(cluster))
        assert raised.value.fix.endswith("instead: --mesh gateway-api --profile routing")


def test_an_istio_that_looks_at_no_namespace_of_a_run_says_so(monkeypatch):
    selector = "discoverySelectors: [{matchExpressions: [{key: env, operator: Exists}]}]"
    cluster = Cluster(
        CustomResourceDefinition=defined("networking.istio.io/Sidecar"),
        Deployment=[deployed("istio-system", "istiod")],
        ConfigMap=[{"metadata": {"name": "istio"}, "data": {"mesh": selector}}],
    )
    with pytest.raises(EnvironmentProblem, match="its discoverySelectors select no namespace"):
        only_mesh(kube(cluster))
    assert "  but its discoverySelectors select no namespace" in features(monkeypatch, cluster)
    cluster.found["ConfigMap"][0]["data"]["mesh"] = "discoverySelectors: [{matchLabels: {mesh: enabled}}]"
    assert only_mesh(kube(cluster)).settings == ("namespaces.labels.mesh=enabled",)


def test_of_two_revisions_of_a_mesh_each_is_named_as_it_is_judged():
    cluster = Cluster(
        CustomResourceDefinition=defined("networking.istio.io/Sidecar"),
        Deployment=[deployed("istio-system", name) for name in ("istiod-1-30", "istiod-1-31")],
    )
    with pytest.raises(EnvironmentProblem, match="several meshes: istio, istio") as raised:
        only_mesh(kube(cluster))
    for revision in ("1-30", "1-31"):
        control_plane = f"--set control-plane=istio-system/istiod-{revision}"
        assert f"--mesh istio {control_plane} --set revision={revision} --profile full" in raised.value.fix


def test_beside_a_control_plane_for_gateways_alone_the_mesh_is_found():
    """An OpenShift has both where its own mesh is installed too."""
    gateways = deployed("openshift-ingress", "istiod-openshift-gateway")
    (container,) = gateways["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "PILOT_ENABLE_GATEWAY_API_CA_CERT_ONLY", "value": "true"}]
    alone = Cluster(CustomResourceDefinition=defined("networking.istio.io/Sidecar"), Deployment=[gateways])
    with pytest.raises(EnvironmentProblem, match="it is there for gateways alone, and no mesh"):
        only_mesh(kube(alone))
    alone.found["Deployment"].append(deployed("istio-system", "istiod"))
    assert only_mesh(kube(alone)).settings == ()


class Guarded(OnCilium):
    """Where the user may read no ConfigMap."""

    def get(self, *_: object):
        raise EnvironmentProblem("forbidden")


def test_what_may_not_be_read_is_not_proposed():
    assert only_mesh(kube(Guarded(**ZTUNNEL))).settings == ()


def test_what_the_user_says_wins_over_what_was_found(monkeypatch, tmp_path):
    found = Proposal("istio", ("revision=new", "trust-domain=found", "cluster-domain=found"), "full", ())
    monkeypatch.setattr("conformance.survey.only_mesh", lambda _: found)
    monkeypatch.setattr("meshproof_cli.settings.existing_cluster", lambda *_: SimpleNamespace(close=lambda: None))
    config = tmp_path / "meshproof.yaml"
    config.write_text("cluster-domain: said.example\nmesh: {trust-domain: said}\n")
    options = found_mesh(Options(mesh="auto", cluster="existing", config=config, assignments=("revision=old",)))
    assert (options.mesh, options.assignments) == ("istio", ("revision=old",))
    assert settings_of(options).mesh == {"trust-domain": "said", "revision": "old"}
    assert found_mesh(Options(cluster="existing")).assignments == found.settings


def test_no_mesh_is_said_in_one_sentence():
    with pytest.raises(EnvironmentProblem, match="no mesh that is known here"):
        only_mesh(kube(Cluster()))
