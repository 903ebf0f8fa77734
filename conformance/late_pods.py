"""Why a pod has not started: what keeps it is often the cluster's (no room, no image), not the mesh's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fixtures.kube.containers import statuses_of
from fixtures.kube.missing_images import NO_IMAGE

__all__ = ["has_run", "waiting"]


def has_run(pod: Mapping[str, Any], container: str) -> bool:
    """Whether a container of the pod runs, or has run before."""
    return any("running" in one.get("state", {}) or one.get("restartCount", 0) or "terminated" in one.get("state", {})
               for one in statuses_of(pod) if one["name"] == container)  # fmt: skip


def waiting(pod: Mapping[str, Any]) -> str:
    """What of the cluster's own the pod waits for: a node, or an image; "" where it may as well be the mesh's doing.

    A mesh adds containers that others wait for, and networks without which no sandbox is made: neither is excused.
    """
    conditions = {one["type"]: one for one in pod.get("status", {}).get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {"status": "False"})
    if scheduled["status"] != "True":
        return f"not scheduled: {scheduled.get('message') or scheduled.get('reason') or 'no reason is given'}"
    has_network = conditions.get("PodReadyToStartContainers", {}).get("status") == "True"
    for one in statuses_of(pod):
        if (found := one.get("state", {}).get("waiting")) is None:
            continue
        reason = found.get("reason", "")
        # Whether it may still come is of no matter here: the mesh is not asked for images either way.
        if reason in NO_IMAGE or (reason == "ContainerCreating" and has_network):
            said = " ".join(str(found[key]) for key in ("reason", "message") if found.get(key))
            return f"container {one['name']} waits: {said}"
    return ""
