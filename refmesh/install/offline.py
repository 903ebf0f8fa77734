"""`refmesh inject -f`: the webhook's patch on files instead of on admission."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from refmesh.injector.patch import Skip, patch
from refmesh.injector.policy import NAMESPACE_LABEL

if TYPE_CHECKING:
    from refmesh.injector.patch import Config, Operation

__all__ = ["apply_operations", "inject_object"]

_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


def inject_object(obj: dict[str, Any], config: Config) -> dict[str, Any]:
    """Return the object with its pod (template) injected; others, and pods that opt out, come back unchanged.

    Raises `refmesh.injector.patch.BadPod`.
    """
    if obj.get("kind") == "List":
        return obj | {"items": [inject_object(item, config) for item in obj.get("items") or ()]}
    path = _TEMPLATES.get(str(obj.get("kind")))
    if path is None:
        return obj
    result = copy.deepcopy(obj)
    pod: Any = result
    for key in path:
        pod = pod.get(key) if isinstance(pod, dict) else None
    if not isinstance(pod, dict):
        return obj
    operations = patch(pod, {NAMESPACE_LABEL: "enabled"}, config)
    if not isinstance(operations, Skip):
        apply_operations(pod, operations)
    return result


def apply_operations(document: dict[str, Any], operations: list[Operation]) -> None:
    """Apply the `add` and `replace` operations of a JSON Patch (RFC 6902) in place."""
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
