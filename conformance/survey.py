"""Gathers what a cluster shows of its meshes, for `conformance.detection`. Reads only."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from conformance.adapters import load
from conformance.adapters.installed import version_of
from conformance.detection import BY_ROUTES, Deployment, GatewayClass, Proposal, Seen, instead, mesh_named, propose
from conformance.installation import obstacle, stated
from conformance.settings import read_settings
from fixtures.kube import Kube
from reports.errors import EnvironmentProblem, MeshproofError

__all__ = ["look", "only_mesh", "proposals", "remains"]

GROUP = "gateway.networking.k8s.io"
BUNDLE = f"{GROUP}/bundle-version"


def look(kube: Kube) -> Seen:
    """Custom resources, webhooks, GatewayClasses and Deployments."""
    definitions = kube.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    groups: dict[str, list[str]] = {}
    bundle = ""
    for one in definitions:
        groups.setdefault(one["spec"]["group"], []).append(one["spec"]["names"]["kind"])
        if one["metadata"]["name"] == f"httproutes.{GROUP}":
            bundle = str(one["metadata"].get("annotations", {}).get(BUNDLE, ""))
    hooks = kube.list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
    return Seen(
        kubernetes=kube.version,
        groups={group: tuple(sorted(kinds)) for group, kinds in sorted(groups.items())},
        webhooks=tuple(sorted(one["metadata"]["name"] for one in hooks)),
        classes=tuple(map(_class, kube.list(f"{GROUP}/v1", "GatewayClass"))),
        deployments=tuple(_deployment(kube, one) for one in kube.list("apps/v1", "Deployment")),
        gateway_api=bundle,
    )


def only_mesh(kube: Kube) -> Proposal:
    """The mesh that `--mesh auto` means. `EnvironmentProblem` unless there is exactly one that can be judged.

    Routes alone are no mesh: ingress controllers and clouds define them too, and nobody may serve those for Services.
    """
    seen = look(kube)
    proposed = propose(seen)
    found = [one for one in proposed if one.mesh != BY_ROUTES]
    ready = [one for one in found if not one.problem]
    if len(ready) == 1:
        return ready[0]
    fix = "name one with --mesh; `meshproof features` says what was found"
    if ready:  # of two revisions of one mesh, its name alone would mean the usual one
        several = ", ".join(one.mesh for one in ready)
        ways = "; or ".join(shlex.join(one.flags) for one in ready)
        raise EnvironmentProblem(f"the cluster has several meshes: {several}", fix=f"name one: {ways}")
    if not found:
        raise EnvironmentProblem("the cluster has no mesh that is known here", fix=f"{fix}{_words(proposed)}")
    why = "; ".join(f"{one.mesh}: {one.problem}" for one in found)
    fix += _words(instead(seen, found))
    raise EnvironmentProblem(f"the cluster has no mesh that can be judged: {why}", fix=fix)


def proposals(kube: Kube, seen: Seen) -> tuple[Proposal, ...]:
    """What there is to judge, those first that their adapters can judge; then what can be judged where none can."""
    asked = [replace(one, problem=one.problem or _problem(kube, one)) for one in propose(seen)]
    found = sorted(asked, key=lambda one: bool(one.problem))
    return (*found, *instead(seen, found))


def remains(kube: Kube, mesh: str, problem: str) -> str:
    """What can be judged where a mesh has a problem, to follow what else may be done; "" where nobody can tell."""
    with suppress(MeshproofError):
        seen = look(kube)
        found = [replace(one, problem=problem) if one.mesh == mesh else one for one in propose(seen)]
        return _words(instead(seen, found))
    return ""


def _words(proposals: Sequence[Proposal]) -> str:
    """What the user may choose, to follow what else may be done."""
    return "".join(f"; or choose what can be judged instead: {shlex.join(one.flags)}" for one in proposals)


def _problem(kube: Kube, proposal: Proposal) -> str:
    """What the adapter says that keeps it from judging; "" where the user may not read what it looks at."""
    with suppress(MeshproofError):
        return load(proposal.mesh, read_settings(None, proposal.settings).mesh).problem(kube)
    return ""


def _class(item: Mapping[str, Any]) -> GatewayClass:
    status = item.get("status", {})
    accepted = any(one["type"] == "Accepted" and one["status"] == "True" for one in status.get("conditions", ()))
    supported = [one if isinstance(one, str) else one["name"] for one in status.get("supportedFeatures", ())]
    return GatewayClass(item["metadata"]["name"], item["spec"]["controllerName"], accepted, tuple(supported))


def _deployment(kube: Kube, item: Mapping[str, Any]) -> Deployment:
    meta = item["metadata"]
    available = bool(item.get("status", {}).get("availableReplicas"))
    mesh = mesh_named(meta["name"])
    beside = _beside(kube, mesh, meta["namespace"], meta["name"]) if mesh else ()
    states, problem = stated(mesh, item, beside), obstacle(mesh, item, beside)
    return Deployment(meta["namespace"], meta["name"], version_of(item), available, states, problem)


def _beside(kube: Kube, mesh: str, namespace: str, name: str) -> tuple[Mapping[str, Any], ...]:
    """The objects that configure a mesh, beside its control plane; none where the user may not read them."""
    configs = {"cilium": "cilium-config", "istio": name.replace("istiod", "istio", 1)}
    with suppress(MeshproofError):
        if mesh in configs:
            found = kube.get("v1", "ConfigMap", configs[mesh], namespace)
            return () if found is None else (found,)
        if mesh == "kuma":
            kinds = (("Mesh", None), ("MeshIdentity", namespace))
            return tuple(
                {**one, "kind": kind} for kind, where in kinds for one in kube.list("kuma.io/v1alpha1", kind, where)
            )
    return ()
