"""Conditions of a status, in Kubernetes' form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["Judgement", "condition", "merge", "now"]

Judgement = tuple[str, bool, str, str]
"""Type, status, reason and message of a condition."""


def now() -> str:
    """This moment, RFC 3339."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: bool, reason: str, message: str, generation: int, moment: str) -> dict[str, Any]:
    """One condition; `moment` is RFC 3339."""
    return {
        "type": kind,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message[:1024],
        "observedGeneration": generation,
        "lastTransitionTime": moment,
    }


def merge(conditions: list[dict[str, Any]], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conditions as they are to be written in place of those of the entry `before`.

    One whose status is as it was keeps the time of its last transition, and types that refmesh does not know stay.
    """
    present = {item.get("type"): item for item in before.get("conditions") or []}
    for item in conditions:
        known = present.pop(item["type"], None)
        if known is not None and known.get("status") == item["status"]:
            item["lastTransitionTime"] = known.get("lastTransitionTime", item["lastTransitionTime"])
    return [*conditions, *present.values()]
