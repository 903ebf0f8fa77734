"""Operations of a JSON Patch (RFC 6902), as the injector makes them, carried out on a document here."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

__all__ = ["Operation", "add", "apply_operations"]

Operation = dict[str, Any]


def add(path: str, value: Any) -> Operation:
    """Return the operation that puts a value at a path."""
    return {"op": "add", "path": path, "value": value}


def apply_operations(document: dict[str, Any], operations: Sequence[Operation]) -> None:
    """Apply `add` and `replace` operations in place."""
    for operation in operations:
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
        target: Any = document
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        value = copy.deepcopy(operation["value"])
        if isinstance(target, list):
            index = len(target) if last == "-" else int(last)
            target[index : index + (operation["op"] == "replace")] = [value]
        else:
            target[last] = value
