"""What an installation says of itself, as settings of its mesh's adapter: only what is certain, and not usual. Pure.

It is read from what the mesh's own chart or program writes, so what somebody has installed in another way says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import yaml

from conformance.adapters.installed import major, version_of

__all__ = ["USUAL", "obstacle", "stated"]

Object = Mapping[str, Any]
Pairs = Iterator[tuple[str, str]]

USUAL: Mapping[str, str] = {
    "cluster-domain": "cluster.local",
    "datacenter": "dc1",
    "mirrored": "false",
    "trust-domain": "cluster.local",
    "zone": "default",
    "ztunnel": "false",
}
"""What the settings are unless somebody says otherwise."""
OPT_INS = {"istio-injection", "istio.io/dataplane-mode", "istio.io/rev"}
"""Labels by which the pods of a namespace are put into an Istio."""
UNASKED = {"DoesNotExist", "NotIn"}
"""Conditions that a namespace meets without the label."""
BY_KINDS = (
    "virtualservices.networking.istio.io",
    "destinationrules.networking.istio.io",
    "sidecars.networking.istio.io",
    "peerauthentications.security.istio.io",
    "authorizationpolicies.security.istio.io",
)
"""Definitions of what an Istio is configured by here, as its own lists of kinds that it does not look at name them."""
ROOTS = "istio-ca-root-cert"
"""The ConfigMap in every namespace with what an Istio's proxies trust, unless its chart was told another name."""
KUMAS_DOMAIN = "{{.Mesh}}.{{.Zone}}.mesh.local"
"""What Kuma makes the trust domain of a MeshIdentity that names none, but for spaces."""


def stated(mesh: str, deployment: Object, beside: Sequence[Object] = ()) -> tuple[str, ...]:
    """`key=value` each, of a control plane's Deployment and of the objects beside it that configure the mesh."""
    read = _READERS.get(mesh)
    found = read(deployment, beside) if read is not None else ()
    return tuple(f"{key}={value}" for key, value in found if value not in ("", USUAL.get(key)))


def obstacle(mesh: str, deployment: Object, beside: Sequence[Object] = ()) -> str:
    """What an installation says that keeps it from being judged by settings that could be proposed; "" if nothing.

    An Istio writes what every pod of the mesh mounts into the namespaces alone that its `discoverySelectors` select.
    """
    if mesh != "istio":
        return ""
    if alone := _gateways_alone(deployment):
        return f"it is there for gateways alone, and no mesh: {alone}"
    if _selected(_mesh_config(deployment, beside)) is not None:
        return ""
    return (
        "its discoverySelectors select no namespace by labels that a run's could all have, and pods in others never "
        "start: have it select another label, and say that by --set namespaces.labels.KEY=VALUE and --mesh istio"
    )


def _refmesh(deployment: Object, _: Sequence[Object]) -> Pairs:
    yield "trust-domain", _flag(deployment, "--trust-domain")


def _istio(deployment: Object, beside: Sequence[Object]) -> Pairs:
    yield "cluster-domain", _flag(deployment, "--domain")
    config = _mesh_config(deployment, beside)
    yield "trust-domain", str(config.get("trustDomain") or "")
    for key, value in (_selected(config) or {}).items():
        yield f"namespaces.labels.{key}", str(value)
    # The chart always says it, and usually the namespace that it installs into.
    if (root := str(config.get("rootNamespace") or "")) and root != deployment["metadata"]["namespace"]:
        yield "root-namespace", root
    if (roots := _variable(deployment, "PILOT_CA_CERT_CONFIGMAP")) not in ("", ROOTS):  # the chart's trustBundleName
        yield "root-certificates", f"{deployment['metadata']['namespace']}/{roots}"


def _gateways_alone(deployment: Object) -> str:
    """What keeps an istiod from serving sidecars, as an OpenShift's own for its Gateways; "" where nothing does."""
    ignored = [one for one in BY_KINDS if _listed(deployment, "PILOT_IGNORE_RESOURCES", one)]
    # Of two lists the second wins (`filterPilotResources` in Istio's `pkg/kube/kclient/crdwatcher.go`, since 1.29).
    if blind := [one for one in ignored if not _listed(deployment, "PILOT_INCLUDE_RESOURCES", one)]:
        return f"it does not look at {', '.join(blind)} (PILOT_IGNORE_RESOURCES)"
    # Of Red Hat's build: see `gatewayAPIPilotEnv` in openshift/cluster-ingress-operator.
    if _variable(deployment, "PILOT_ENABLE_GATEWAY_API_CA_CERT_ONLY").lower() == "true":
        return (
            "what every proxy mounts it writes into namespaces with a Gateway only "
            "(PILOT_ENABLE_GATEWAY_API_CA_CERT_ONLY)"
        )
    return ""


def _listed(deployment: Object, variable: str, name: str) -> bool:
    """Whether a list of names has this one; after `*.` any end counts."""
    patterns = [one.strip() for one in _variable(deployment, variable).split(",")]
    return any(name.endswith(one[2:]) if one.startswith("*.") else name == one for one in patterns)


def _mesh_config(deployment: Object, beside: Sequence[Object]) -> Mapping[str, Any]:
    """What is certain of it: nothing where there is a second one, which is merged into the first."""
    return {} if _variable(deployment, "SHARED_MESH_CONFIG") else _mapping(_data(beside).get("mesh", ""))


def _selected(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The labels by which Istio looks at a namespace, as few as may be; None where those of a run cannot have them.

    All of a run's need them, also those that are not in the mesh: a pod may opt in by itself.
    """
    selectors = config.get("discoverySelectors") or [{}]
    return min((found for one in selectors if (found := _needed(one)) is not None), key=len, default=None)


def _needed(selector: Mapping[str, Any]) -> Mapping[str, Any] | None:
    labels = selector.get("matchLabels") or {}
    asking = [one for one in selector.get("matchExpressions") or () if one.get("operator") not in UNASKED]
    return None if asking or not labels.keys().isdisjoint(OPT_INS) else labels


def _linkerd(deployment: Object, _: Sequence[Object]) -> Pairs:
    yield "cluster-domain", _flag(deployment, "-cluster-domain")
    yield "trust-domain", _flag(deployment, "-identity-trust-domain")


def _kuma(deployment: Object, beside: Sequence[Object]) -> Pairs:
    zone = _variable(deployment, "KUMA_MULTIZONE_ZONE_NAME")
    yield "zone", zone
    if [one["metadata"]["name"] for one in beside if one.get("kind") == "Mesh"] != ["default"]:
        return  # which of several meshes is meant, only the user knows
    specs = [one.get("spec") or {} for one in beside if one.get("kind") == "MeshIdentity"]
    # One without a selector of workloads only spreads trust; a domain may be a template.
    naming = [one for one in specs if (one.get("selector") or {}).get("dataplane") is not None]
    domains = {str((one.get("spiffeID") or {}).get("trustDomain") or KUMAS_DOMAIN).replace(" ", "") for one in naming}
    if domains == {KUMAS_DOMAIN} and major(version_of(deployment)) == "2":
        # That of Kuma 3 needs no saying; of Kuma 2 it also says that workloads are named by it.
        yield "trust-domain", f"default.{zone or USUAL['zone']}.mesh.local"
    elif len(domains) == 1 and "{{" not in (domain := domains.pop()):
        yield "trust-domain", domain


def _consul(deployment: Object, _: Sequence[Object]) -> Pairs:
    yield "datacenter", _variable(deployment, "CONSUL_DATACENTER")
    named_alike = not _flag(deployment, "-k8s-namespace-mirroring-prefix")
    if named_alike and _flag(deployment, "-enable-namespaces") == "true":
        yield "mirrored", _flag(deployment, "-enable-k8s-namespace-mirroring")


def _cilium(_: Object, beside: Sequence[Object]) -> Pairs:
    yield "ztunnel", _data(beside).get("enable-ztunnel", "")


_READERS: Mapping[str, Callable[[Object, Sequence[Object]], Pairs]] = {
    "refmesh": _refmesh,
    "istio": _istio,
    "linkerd": _linkerd,
    "kuma": _kuma,
    "consul": _consul,
    "cilium": _cilium,
}


def _containers(deployment: Object) -> Iterable[Object]:
    return deployment["spec"]["template"]["spec"].get("containers") or ()


def _flag(deployment: Object, name: str) -> str:
    """The value of a flag, given as one word or two, be it within a shell's command."""
    lines = [*(line for one in _containers(deployment) for key in ("command", "args") for line in one.get(key) or ())]
    words = [word.strip("\"'") for line in lines for word in str(line).split()]
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word == name or word.startswith(f"{name}="):
            return _literal(following if word == name else word.partition("=")[2].strip("\"'"))
    return ""


def _variable(deployment: Object, name: str) -> str:
    """The value of an environment variable that has one in the Deployment itself."""
    given = [item for one in _containers(deployment) for item in one.get("env") or () if item.get("name") == name]
    return _literal(str(given[0].get("value") or "")) if given else ""


def _literal(value: str) -> str:
    return "" if "$" in value else value


def _data(beside: Sequence[Object]) -> Mapping[str, str]:
    """What the ConfigMap among them holds."""
    return next((one["data"] for one in beside if one.get("data")), {})


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
