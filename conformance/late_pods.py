"""Why a pod has not started: what keeps it is often the cluster's (no room, no image), not the mesh's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["has_run", "waiting"]


def has_run(pod: Mapping[str, Any], container: str) -> bool:
    """Whether a container of the pod runs, or has run before."""
    return any("running" in one.get("state", {}) or one.get("restartCount", 0) or "terminated" in one.get("state", {})
               for one in _statuses(pod) if one["name"] == container)  # fmt: skip


def waiting(pod: Mapping[str, Any]) -> str:
    """What the pod waits for, in the cluster's words: not scheduled, a container's reason, or its phase."""
    status = pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"not scheduled: {condition.get('message') or condition.get('reason') or 'no reason is given'}"
    for one in _statuses(pod):
        if (found := one.get("state", {}).get("waiting")) is not None:
            said = " ".join(str(found[key]) for key in ("reason", "message") if found.get(key))
            return f"container {one['name']} waits: {said or 'no reason is given'}"
    return f"the pod is {status.get('phase') or 'not there'}"


def _statuses(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses", ())
    yield from status.get("containerStatuses", ())
