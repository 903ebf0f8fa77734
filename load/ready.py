"""Waiting for pods, with a plain word when they do not become ready, and an early one when they never can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fixtures.kube import Kube, NotEventually
from fixtures.kube.missing_images import missing_image

__all__ = ["unscheduled", "wait_ready"]

LOOK_SECONDS = 8.0
"""How often a wait for pods looks whether it is in vain."""


def unscheduled(pods: Iterable[Mapping[str, Any]]) -> str:
    """Why the scheduler finds no node for a pod, or ""."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message") or condition.get("reason", ""))
    return ""


def wait_ready(kube: Kube, namespace: str, count: int, timeout: float, image: str) -> None:
    """Wait until exactly `count` pods of a namespace are ready, whose own image is `image`.

    Raises EnvironmentProblem: soon where an image can never be had, otherwise after `timeout` seconds. It names the
    image where one is missing; a pull that failed is tried again by the kubelet, and waited for.
    """
    left = timeout
    while True:
        look = min(left, LOOK_SECONDS)
        left -= look
        try:
            kube.wait_pods_ready(namespace, count=count, timeout=look)
        except NotEventually as late:
            missing = missing_image(kube.list("v1", "Pod", namespace), image)
            if missing and (left <= 0 or missing.in_vain(image)):
                raise missing.problem(image) from None
            if left <= 0:
                raise NotEventually(late.what, timeout, late.last, late.attempts) from late
        else:
            return
