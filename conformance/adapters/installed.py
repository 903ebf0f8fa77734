"""What must be found out about any mesh that is installed: its control plane's Deployment and pods. Reads only."""

from __future__ import annotations

import re

from conformance.adapters.base import Manifest
from conformance.adapters.settings import Place
from fixtures.kube import Kube

__all__ = ["deployment_problem", "deployment_version", "major", "running_pods", "version_of"]

_VERSION = re.compile(r"v?\d+\.\d")


def deployment_version(kube: Kube, place: Place) -> str:
    """The version label of a control plane's Deployment, else the tag of its image; "" where there is none."""
    found = kube.get("apps/v1", "Deployment", place.name, place.namespace)
    return version_of(found) if found is not None else ""


def running_pods(kube: Kube, namespace: str, selector: str) -> list[str]:
    """The names of a control plane's pods that run."""
    pods = kube.list("v1", "Pod", namespace, selector)
    return [pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") == "Running"]


def version_of(deployment: Manifest) -> str:
    """The tag of its image where that is a version, else the version label of the Deployment, else the tag.

    The label comes second, as charts that are built from a source tree carry a number that nobody has set.
    """
    label = str(deployment["metadata"].get("labels", {}).get("app.kubernetes.io/version") or "")
    image = str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag if _VERSION.match(tag) or not label else label


def major(version: str) -> str:
    """Its first number: 2 of v2.14.3."""
    return version.lstrip("v").partition(".")[0]


def deployment_problem(kube: Kube, place: Place, title: str, fix: str) -> str:
    """Why a control plane cannot serve, and what to do about it; "" where it can."""
    found = kube.get("apps/v1", "Deployment", place.name, place.namespace)
    if found is None:
        return f"{title} is not installed (no Deployment {place.name} in {place.namespace}): {fix}"
    if not found.get("status", {}).get("availableReplicas"):
        return f"{title}'s control plane {place.name} in {place.namespace} is not available: see its pods' events"
    return ""
