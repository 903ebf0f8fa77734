"""What became of the scene's own pods meanwhile: a cluster evicts, replaces and restarts them as it sees fit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.objects import BETWEEN, DRIVER, ECHO, PROBER

__all__ = ["Standing", "standing", "strays"]

OURS = frozenset({BETWEEN, DRIVER, ECHO, PROBER})
"""The scene's own containers. One that the mesh has put beside them is the mesh's, and so is its crash."""
OVER = frozenset({"Failed", "Succeeded"})
"""Phases of a pod that never runs again; one that was evicted stays with the first."""


@dataclass(frozen=True)
class Standing:
    """One pod at one time."""

    uid: str
    restarts: int
    """Of its containers that are ours."""


def standing(pods: Iterable[Mapping[str, Any]]) -> dict[str, Standing]:
    """The pods that are not on their way out, by name."""
    found: dict[str, Standing] = {}
    for pod in pods:
        meta, status = pod["metadata"], pod.get("status") or {}
        if meta.get("deletionTimestamp") or status.get("phase") in OVER:
            continue
        told = status.get("containerStatuses") or ()
        restarts = sum(int(one.get("restartCount", 0)) for one in told if one["name"] in OURS)
        found[str(meta["name"])] = Standing(str(meta.get("uid", "")), restarts)
    return found


def strays(before: Mapping[str, Standing], after: Mapping[str, Standing], victims: Iterable[str]) -> tuple[str, ...]:
    """What became of pods that nobody but the cluster can have changed: all but the experiment's own victims."""
    found = []
    for name in sorted(set(before) - set(victims)):
        now = after.get(name)
        if now is None:
            found.append(f"{name} was taken away")
        elif now.uid != before[name].uid:
            found.append(f"{name} was replaced")
        elif now.restarts > before[name].restarts:
            found.append(f"{name} was restarted")
    return tuple(found)
