"""The scene's own pods at one time, as far as what becomes of them is to be told from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.objects import BETWEEN, DRIVER, ECHO, PROBER
from fixtures.kube.containers import containers_of, statuses_of

__all__ = ["OURS", "Ending", "Standing", "standing"]

OURS = frozenset({BETWEEN, DRIVER, ECHO, PROBER})
"""The scene's own containers. One that the mesh has put beside them is the mesh's, and so is its crash."""
OVER = frozenset({"Failed", "Succeeded"})
"""Phases of a pod that never runs again; one that was evicted stays with the first."""


@dataclass(frozen=True)
class Ending:
    """How a container ended the last time."""

    reason: str
    code: int | None
    limited: bool
    """Whether the container, or its pod, has a limit on memory."""
    instance: str
    """By what one ending differs from the next."""

    @property
    def words(self) -> str:
        """For a sentence that begins with the container."""
        code = "" if self.code is None else f", exit code {self.code}"
        return f"ended: {self.reason or 'no reason is given'}{code}"


@dataclass(frozen=True)
class Standing:
    """One pod at one time."""

    uid: str
    restarts: Mapping[str, int]
    """By container."""
    endings: Mapping[str, Ending] = field(default_factory=dict)
    """Of containers that have ended by themselves."""
    stays: bool = True
    """Whether it is neither on its way out nor over."""
    disruption: str = ""
    """Why it does not stay, by its own status."""


def standing(pods: Iterable[Mapping[str, Any]]) -> dict[str, Standing]:
    """Every pod by name, also one that is on its way out: it may say why."""
    return {str(pod["metadata"]["name"]): _standing(pod) for pod in pods}


def _standing(pod: Mapping[str, Any]) -> Standing:
    meta, status = pod["metadata"], pod.get("status") or {}
    stays = not meta.get("deletionTimestamp") and status.get("phase") not in OVER
    told = statuses_of(pod)
    endings = {str(one["name"]): found for one in told if (found := _ending(pod, one, stays=stays)) is not None}
    return Standing(
        uid=str(meta.get("uid", "")),
        restarts={str(one["name"]): int(one.get("restartCount", 0)) for one in told},
        endings=endings,
        stays=stays,
        disruption="" if stays else _disruption(status),
    )


def _ending(pod: Mapping[str, Any], status: Mapping[str, Any], *, stays: bool) -> Ending | None:
    # In a pod on its way out all containers end, for that alone: only what was before tells of a crash.
    states = [status.get("state"), status.get("lastState")] if stays else [status.get("lastState")]
    ended = next((one["terminated"] for one in states if one and one.get("terminated")), None)
    if ended is None:
        return None
    instance = f"{ended.get('containerID', '')} {ended.get('finishedAt', '')}"
    return Ending(str(ended.get("reason", "")), ended.get("exitCode"), _limited(pod, status["name"]), instance)


def _limited(pod: Mapping[str, Any], container: str) -> bool:
    own = [one for one in containers_of(pod) if one["name"] == container]
    asked = [(one.get("resources") or {}).get("limits") or {} for one in (*own, pod.get("spec") or {})]
    return any("memory" in limits for limits in asked)


def _disruption(status: Mapping[str, Any]) -> str:
    """Whoever evicts or preempts a pod says so in a condition; the kubelet also in the status itself."""
    conditions = status.get("conditions") or ()
    said = [one for one in conditions if one["type"] == "DisruptionTarget" and one["status"] == "True"]
    first: Mapping[str, Any] = next((one for one in (*said, status) if one.get("reason")), {})
    return ": ".join(str(first[key]) for key in ("reason", "message") if first.get(key))
