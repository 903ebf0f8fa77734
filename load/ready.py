"""Waiting for pods, with an early and plain word when they can never become ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fixtures.kube import Kube, NotEventually
from fixtures.kube.containers import statuses_of
from reports.errors import EnvironmentProblem

__all__ = ["missing_image", "unscheduled", "wait_ready"]

LOOK_SECONDS = 8.0
"""After so long the pods are looked at for the first time."""
IN_VAIN = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})


def missing_image(pods: Iterable[Mapping[str, Any]]) -> str:
    """The image that a pod waits for in vain, or ""."""
    for pod in pods:
        for container in statuses_of(pod):
            if container.get("state", {}).get("waiting", {}).get("reason") in IN_VAIN:
                return str(container.get("image", ""))
    return ""


def unscheduled(pods: Iterable[Mapping[str, Any]]) -> str:
    """Why the scheduler finds no node for a pod, or ""."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message") or condition.get("reason", ""))
    return ""


def wait_ready(kube: Kube, namespace: str, count: int, timeout: float) -> None:
    """Wait until exactly `count` pods of a namespace are ready.

    Raises EnvironmentProblem: soon and naming the image where one is missing, otherwise after `timeout` seconds.
    """
    try:
        kube.wait_pods_ready(namespace, count=count, timeout=min(LOOK_SECONDS, timeout))
    except NotEventually:
        if image := missing_image(kube.list("v1", "Pod", namespace)):
            raise EnvironmentProblem(
                f"the cluster cannot get the image {image}",
                fix="load it with `meshproof cluster load`, or name one the cluster can pull with --image",
            ) from None
        if timeout <= LOOK_SECONDS:
            raise
        kube.wait_pods_ready(namespace, count=count, timeout=timeout - LOOK_SECONDS)
