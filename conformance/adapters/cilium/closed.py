"""Policies for the whole cluster by which Cilium lets nobody in or out, whatever it does as a mesh.

Allowances beside them would be united with those of the checks, whose refusals would then fail: nothing is opened here,
and such a cluster is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator

from conformance.adapters.base import Manifest
from fixtures.kube import ApiProblem, Kube

__all__ = ["shut"]

KIND = "CiliumClusterwideNetworkPolicy"
SPACE = "io.kubernetes.pod.namespace"
"""How the label of a pod's namespace ends, whatever source is named before it."""
WAYS = {"ingress": "from", "egress": "to"}


def shut(kube: Kube) -> str:
    """Which policy for the whole cluster lets nothing in or out of the pods of any namespace, "" where none does.

    Its own documentation begins so (Documentation/network/servicemesh/default-deny-ingress-policy.rst). Reads only.
    """
    try:
        policies = kube.list("cilium.io/v2", KIND)
    except ApiProblem:  # who may not look is told by requests that are not let in
        return ""
    rules = [(str(one["metadata"]["name"]), spec) for one in policies for spec in _specs(one)]
    for way in WAYS:
        closing = [name for name, spec in rules if _of_all(spec) and _closes(spec, way)]
        if closing and not any(_may_be_ours(spec) and _opens(spec, way) for _, spec in rules):
            return (
                f"{KIND} {closing[0]} lets nothing through ({way}) that no policy allows, nothing of a run either: "
                "judge a cluster without it, or have it spare namespaces with a label (namespaces.labels in --config)"
            )
    return ""


def _specs(policy: Manifest) -> Iterator[Manifest]:
    """Its rules for endpoints; those for nodes are no pod's."""
    found = [policy.get("spec"), *(policy.get("specs") or ())]
    return (one for one in found if one and one.get("endpointSelector") is not None)


def _selected(spec: Manifest) -> tuple[Manifest, list[Manifest]]:
    selector = spec["endpointSelector"]
    return selector.get("matchLabels") or {}, selector.get("matchExpressions") or []


def _of_all(spec: Manifest) -> bool:
    """Whether it is about the pods of every namespace but for some that it names."""
    labels, expressions = _selected(spec)
    return not labels and all(one["key"].endswith(SPACE) and one["operator"] == "NotIn" for one in expressions)


def _may_be_ours(spec: Manifest) -> bool:
    """Whether it may be about pods of namespaces that it does not name."""
    labels, expressions = _selected(spec)
    named = [*labels, *(one["key"] for one in expressions if one["operator"] == "In")]
    return not any(key.endswith(SPACE) for key in named)


def _closes(spec: Manifest, way: str) -> bool:
    """Whether it turns away what no policy allows: any does that has rules, unless it says otherwise."""
    by_itself = bool(spec.get(way) or spec.get(f"{way}Deny"))
    return bool((spec.get("enableDefaultDeny") or {}).get(way, by_itself))


def _opens(spec: Manifest, way: str) -> bool:
    """Whether a rule of it lets every pod of the cluster through, on every port."""
    others = WAYS[way]
    return any(
        not rule.get("toPorts")
        and (
            not {"all", "cluster"}.isdisjoint(rule.get(f"{others}Entities") or ())
            or any(not any(one.values()) for one in rule.get(f"{others}Endpoints") or ())
        )
        for rule in spec.get(way) or ()
    )
