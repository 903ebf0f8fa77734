"""Merging of a piece of a pod over a pod, as Kubernetes' strategic merge patch does it. Pure.

Objects merge by key, and null takes a key away; lists of things with names merge by name, all other lists are replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

__all__ = ["KEYS", "merged"]

KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists of a pod that merge, and by which key of their items (`patchMergeKey` in the API's definition)."""
_WHOLE = ("volumes", "env")
"""Their items replace each other: one has one source or value, and of two the API server would have none."""
_ONE_OF = frozenset({"exec", "httpGet", "tcpSocket", "grpc", "sleep"})
"""What a probe or a hook does: one of these."""


def merged(base: Any, over: Any, field: str = "") -> Any:
    """Return `over` merged over `base`, which is the value of the field `field`; neither is changed."""
    if isinstance(over, Mapping):
        return _object(base if isinstance(base, Mapping) else {}, over)
    if isinstance(over, list) and field in KEYS:
        return _list(base if isinstance(base, list) else [], over, field)
    return copy.deepcopy(over)


def _object(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    others = _ONE_OF if _ONE_OF & over.keys() else frozenset()
    result = {key: value for key, value in base.items() if key not in others or key in over}
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value, key)
    return result


def _list(base: list[Any], over: list[Any], field: str) -> list[Any]:
    key, result = KEYS[field], list(base)
    places = {one.get(key): index for index, one in reversed([*enumerate(result)])}  # of several the first
    for item in over:
        index = places.setdefault(item.get(key), len(result))
        if index == len(result):
            result.append(merged({}, item))
        else:
            result[index] = merged({} if field in _WHOLE else result[index], item)
    return result
