"""What installations say of themselves, as their charts write them."""

from __future__ import annotations

from typing import Any, cast

import pytest
import yaml

from conformance.adapters import load
from conformance.installation import USUAL, obstacle, stated
from conformance.settings import RunSettings, read_settings


def plane(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


def told(*arguments: str, **env: str) -> dict[str, Any]:
    return plane({"name": "proxy"}, {"args": arguments, "env": [{"name": k, "value": v} for k, v in env.items()]})


def shell(*lines: str) -> dict[str, Any]:
    """As Consul's chart starts its injector."""
    return plane({"command": ["/bin/sh", "-ec", "consul-k8s-control-plane inject-connect \\\n" + " \\\n".join(lines)]})


def config(**data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "data": {key.replace("_", "-"): value for key, value in data.items()}}


def mesh(name: str) -> dict[str, Any]:
    return {"kind": "Mesh", "metadata": {"name": name}}


def names(domain: str | None, *, workloads: bool = True) -> dict[str, Any]:
    spiffe = {"spiffeID": {"trustDomain": domain}} if domain else {}
    return {"kind": "MeshIdentity", "spec": {**spiffe, "selector": {"dataplane": {}} if workloads else None}}


def kuma(tag: str, **env: str) -> dict[str, Any]:
    """Its control plane."""
    (container,) = told(**env)["spec"]["template"]["spec"]["containers"][1:]
    return {"metadata": {"name": "kuma-control-plane"}, **plane({**container, "image": f"kuma-cp:{tag}"})}


def istiod(**env: str) -> dict[str, Any]:
    """Its control plane."""
    return {"metadata": {"namespace": "istio-system", "name": "istiod"}, **told("discovery", **env)}


def discovers(*selectors: dict[str, Any]) -> dict[str, Any]:
    """An Istio that looks at some namespaces alone."""
    return config(mesh=yaml.safe_dump({"discoverySelectors": list(selectors)}, sort_keys=False))


EXPRESSION = {"matchExpressions": [{"key": "env", "operator": "Exists"}]}
UNLESS = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]}
OPT_IN = {"matchLabels": {"istio-injection": "enabled"}}
OF_TRUST = ("trust-domain=t.example",)
NAMESPACES, MIRRORING = "-enable-namespaces=true", "-enable-k8s-namespace-mirroring=true"
DOMAIN = ("-cluster-domain=c.example", '-identity-trust-domain="t.example"')


@pytest.mark.parametrize(
    ("name", "deployment", "beside", "said"),
    [
        ("cilium", told(), [config(enable_ztunnel="true")], ("ztunnel=true",)),
        ("cilium", told(), [config(enable_ztunnel="false")], ()),
        ("cilium", told(), [], ()),
        ("refmesh", told("--trust-domain", "t.example"), [], OF_TRUST),
        ("istio", told("discovery", "--domain", "c.example"), [], ("cluster-domain=c.example",)),
        ("istio", told("--domain", "cluster.local"), [config(mesh="trustDomain: t.example")], OF_TRUST),
        ("istio", told(), [config(mesh="trustDomain: cluster.local")], ()),
        ("istio", told(), [config(mesh="a: [")], ()),
        ("istio", told(), [discovers({"matchLabels": {"mesh": "on", "example.com/tier": "test"}})],
         ("namespaces.labels.mesh=on", "namespaces.labels.example.com/tier=test")),
        ("istio", told(), [discovers(EXPRESSION, {"matchLabels": {"mesh": "on"}})], ("namespaces.labels.mesh=on",)),
        ("istio", told(), [discovers({"matchLabels": {"mesh": "on"}}, UNLESS)], ()),
        ("istio", told(SHARED_MESH_CONFIG="user"), [discovers({"matchLabels": {"mesh": "on"}})], ()),
        ("istio", told(SHARED_MESH_CONFIG="user"), [config(mesh="trustDomain: t.example")], ()),
        ("istio", istiod(PILOT_CA_CERT_CONFIGMAP="mesh-roots"), [], ("root-certificates=istio-system/mesh-roots",)),
        ("istio", istiod(PILOT_CA_CERT_CONFIGMAP="istio-ca-root-cert"), [], ()),
        ("istio", istiod(), [config(mesh="rootNamespace: istio-system")], ()),
        ("istio", istiod(), [config(mesh="rootNamespace: mesh-policies")], ("root-namespace=mesh-policies",)),
        ("linkerd", told("destination", *DOMAIN), [], ("cluster-domain=c.example", "trust-domain=t.example")),
        ("consul", told(CONSUL_DATACENTER="dc2"), [], ("datacenter=dc2",)),
        ("consul", told(CONSUL_DATACENTER="$(DC)"), [], ()),
        ("consul", shell(NAMESPACES, MIRRORING), [], ("mirrored=true",)),
        ("consul", shell(NAMESPACES, MIRRORING, "-k8s-namespace-mirroring-prefix=k8s-"), [], ()),
        ("consul", shell(MIRRORING), [], ()),
        ("kuma", told(KUMA_MULTIZONE_ZONE_NAME="east"), [], ("zone=east",)),
        ("kuma", told(), [mesh("default"), names("t.example"), names("x", workloads=False)], OF_TRUST),
        ("kuma", kuma("3.0.0"), [mesh("default"), names(None)], ()),
        ("kuma", kuma("2.14.3"), [mesh("default"), names(None)], ("trust-domain=default.default.mesh.local",)),
        ("kuma", kuma("2.14.3"), [mesh("default"), names("{{ .Mesh }}.{{ .Zone }}.mesh.local")],
         ("trust-domain=default.default.mesh.local",)),
        ("kuma", kuma("v2.14.3", KUMA_MULTIZONE_ZONE_NAME="east"), [mesh("default"), names(None)],
         ("zone=east", "trust-domain=default.east.mesh.local")),
        ("kuma", kuma("2.14.3"), [mesh("default"), names(None), names("t.example")], ()),
        ("kuma", told(), [mesh("default"), names("{{ .Mesh }}.example")], ()),
        ("kuma", told(), [mesh("default"), names("t.example"), names("other.example")], ()),
        ("kuma", told(), [mesh("default"), mesh("other"), names("t.example")], ()),
        ("theirs", told("--trust-domain", "t.example"), [], ()),
    ],
)  # fmt: skip
def test_an_installation_says_what_is_not_usual(
    name: str, deployment: dict[str, Any], beside: list[dict[str, Any]], said: tuple[str, ...]
) -> None:
    assert stated(name, deployment, beside) == said
    if said:  # and the adapter takes it
        assert load(name, read_settings(None, said).mesh).name == name


@pytest.mark.parametrize("selectors", [(EXPRESSION,), (OPT_IN,), (EXPRESSION, OPT_IN)])
def test_where_no_label_leads_to_an_istio_nothing_is_proposed(selectors: tuple[dict[str, Any], ...]) -> None:
    """The label that opts in does not: a namespace outside of the mesh must not have it, though pods there opt in."""
    assert stated("istio", told(), [discovers(*selectors)]) == ()
    assert "--set namespaces.labels.KEY=VALUE" in obstacle("istio", told(), [discovers(*selectors)])


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"PILOT_ENABLE_GATEWAY_API_CA_CERT_ONLY": "true"}, "into namespaces with a Gateway only"),
        ({"PILOT_ENABLE_GATEWAY_API_CA_CERT_ONLY": "false"}, ""),
        ({"PILOT_IGNORE_RESOURCES": "*.istio.io"}, "it does not look at virtualservices.networking.istio.io"),
        ({"PILOT_IGNORE_RESOURCES": "*.istio.io", "PILOT_INCLUDE_RESOURCES": "*.networking.istio.io"},
         "it does not look at peerauthentications.security.istio.io, authorizationpolicies.security.istio.io"),
        ({"PILOT_IGNORE_RESOURCES": "*.istio.io", "PILOT_INCLUDE_RESOURCES": " *.istio.io"}, ""),
        ({"PILOT_IGNORE_RESOURCES": "a, sidecars.networking.istio.io"}, "look at sidecars.networking.istio.io ("),
        ({"PILOT_IGNORE_RESOURCES": "listenersets.gateway.networking.k8s.io"}, ""),
    ],
)  # fmt: skip
def test_an_istiod_that_serves_gateways_alone_is_no_mesh(env: dict[str, str], why: str) -> None:
    """As those that an OpenShift runs for its own Gateways: no sidecar would start, and no policy would hold."""
    found = obstacle("istio", istiod(**env))
    assert why in found
    assert bool(found) is bool(why)


def test_others_stand_in_nobodys_way() -> None:
    by_label = discovers(EXPRESSION, {"matchLabels": {"mesh": "on"}})
    for beside in ([], [config(mesh="")], [discovers(UNLESS)], [by_label]):
        assert obstacle("istio", told(), beside) == ""
    assert obstacle("istio", told(SHARED_MESH_CONFIG="user"), [discovers(EXPRESSION)]) == ""
    assert obstacle("cilium", told(), [config(enable_ztunnel="true")]) == ""


def test_the_usual_is_what_the_adapters_take_for_granted() -> None:
    assert RunSettings().cluster_domain == USUAL["cluster-domain"]
    for name in ("cilium", "consul", "istio", "kuma", "linkerd", "refmesh"):
        settings = cast("Any", load(name)).settings.model_dump(by_alias=True)
        for key, value in USUAL.items():
            # An empty trust domain is one that the adapter makes up, or asks for.
            assert str(settings.get(key) or value).lower() == value
