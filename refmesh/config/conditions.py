"""Conditions of a status, in Kubernetes' form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Judgement", "condition", "keep_times"]

Judgement = tuple[str, bool, str, str]
"""Type, status, reason and message of a condition."""


def condition(kind: str, status: bool, reason: str, message: str, generation: int, now: str) -> dict[str, Any]:
    """One condition; `now` is RFC 3339."""
    return {
        "type": kind,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message[:1024],
        "observedGeneration": generation,
        "lastTransitionTime": now,
    }


def keep_times(conditions: Iterable[dict[str, Any]], before: Mapping[str, Any]) -> None:
    """Give each condition whose status is as in the entry `before` the time of its last transition."""
    times = {item.get("type"): item for item in before.get("conditions") or []}
    for item in conditions:
        known = times.get(item["type"])
        if known is not None and known.get("status") == item["status"]:
            item["lastTransitionTime"] = known.get("lastTransitionTime", item["lastTransitionTime"])
