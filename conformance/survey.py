"""Gathers what a cluster shows of its meshes, for `conformance.detection`. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from conformance.adapters.installed import version_of
from conformance.detection import Deployment, GatewayClass, Proposal, Seen, mesh_named, propose
from conformance.installation import stated
from fixtures.kube import Kube
from reports.errors import EnvironmentProblem, MeshproofError

__all__ = ["look", "only_mesh"]

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
    """The mesh that `--mesh auto` means. `EnvironmentProblem` unless there is exactly one that can be judged."""
    ready = [one for one in propose(look(kube)) if not one.problem]
    if len(ready) == 1:
        return ready[0]
    names = ", ".join(one.mesh for one in ready)
    problem = f"the cluster has several meshes: {names}" if ready else "the cluster has no mesh that is known here"
    raise EnvironmentProblem(problem, fix="name one with --mesh; `meshproof features` says what was found")


def _class(item: Mapping[str, Any]) -> GatewayClass:
    status = item.get("status", {})
    accepted = any(one["type"] == "Accepted" and one["status"] == "True" for one in status.get("conditions", ()))
    supported = [one if isinstance(one, str) else one["name"] for one in status.get("supportedFeatures", ())]
    return GatewayClass(item["metadata"]["name"], item["spec"]["controllerName"], accepted, tuple(supported))


def _deployment(kube: Kube, item: Mapping[str, Any]) -> Deployment:
    meta = item["metadata"]
    available = bool(item.get("status", {}).get("availableReplicas"))
    mesh = mesh_named(meta["name"])
    states = stated(mesh, item, _beside(kube, mesh, meta["namespace"], meta["name"])) if mesh else ()
    return Deployment(meta["namespace"], meta["name"], version_of(item), available, states)


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
