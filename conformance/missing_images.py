"""Images that pods of a run lack, and whether it is in vain to wait for one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fixtures.kube.containers import statuses_of
from reports.errors import EnvironmentProblem

__all__ = ["Missing", "missing_image"]

IN_VAIN = {"InvalidImageName", "ErrImageNeverPull"}
FAILED_PULL = {"ErrImagePull", "ImagePullBackOff"}
"""The kubelet tries again: the next time the registry may answer, or have forgotten how much was asked of it."""
NOT_THERE = re.compile(
    r"not ?found|manifest unknown|does not exist|not known|denied|unauthorized|no such host", re.IGNORECASE
)
"""What is said of an image that the registry does not have, or not for these nodes, and of a registry that is none."""
LOADED = "meshproof.local/"
"""What we name images that are loaded into nodes: no registry has any."""


@dataclass(frozen=True)
class Missing:
    """A container that has no image, and why."""

    container: str
    image: str
    reason: str
    said: str

    def in_vain(self, own: str) -> bool:
        """Whether to wait for it is in vain, where `own` is the image of our workloads.

        Others' images are the mesh's or the cluster's, and were there when it was installed: a registry that refuses
        them may have its reasons for now.
        """
        if self.reason in IN_VAIN or self.image.startswith(LOADED):
            return True
        return self.image == own and NOT_THERE.search(self.said) is not None

    def problem(self, own: str) -> EnvironmentProblem:
        """What the user is told."""
        why = f": {self.said}" if self.said else ""
        if self.image == own:
            fix = "load its archive into the nodes, or name one that they can pull with --image"
            return EnvironmentProblem(f"the cluster cannot get the image {self.image}{why}", fix=fix)
        whose = f"of the container {self.container}, which is not this run's own"
        return EnvironmentProblem(f"the cluster cannot get the image {self.image} {whose}{why}")


def missing_image(pods: Iterable[Mapping[str, Any]], own: str) -> Missing | None:
    """A container that has no image; one whose image is waited for in vain comes before others."""
    found = [
        Missing(one["name"], str(one.get("image", "")), waits["reason"], " ".join(waits.get("message", "").split()))
        for pod in pods
        for one in statuses_of(pod)
        if (waits := one.get("state", {}).get("waiting") or {}).get("reason") in IN_VAIN | FAILED_PULL
    ]
    return next((one for one in found if one.in_vain(own)), found[0] if found else None)
