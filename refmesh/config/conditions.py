"""Conditions of a status, in Kubernetes' form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["Judgement", "condition", "conditions_of", "entries", "merge", "now"]

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


def entries(status: Any, field: str) -> list[dict[str, Any]]:
    """The objects in a list of a status, in whatever form it is: anybody may have written it."""
    found = status.get(field) if isinstance(status, Mapping) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def conditions_of(status: Any) -> list[dict[str, Any]]:
    """The conditions of a status in whatever form: those that have a type."""
    return [item for item in entries(status, "conditions") if isinstance(item.get("type"), str)]


def merge(conditions: list[dict[str, Any]], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conditions as they are to be written in place of those of the entry `before`.

    One whose status is as it was keeps the time of its last transition, and types that refmesh does not know stay.
    """
    present = {item["type"]: item for item in conditions_of(before)}
    for item in conditions:
        known = present.pop(item["type"], None)
        if known is not None and known.get("status") == item["status"]:
            item["lastTransitionTime"] = known.get("lastTransitionTime", item["lastTransitionTime"])
    return [*conditions, *present.values()]
