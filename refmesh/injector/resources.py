"""What the mesh's two containers ask of a node and may use: defaults, and Istio's annotations about the proxy's. Pure.

There is a limit on everything, for a namespace whose quota counts limits refuses pods with a container that has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

__all__ = ["fitted", "of_init", "of_proxy"]

_CPU_LIMIT = "2"
"""Above what a sidecar's proxy uses with its one worker thread; Istio's. More threads have as many."""
_PROXY = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": _CPU_LIMIT, "memory": "512Mi"}}
_INIT = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": _CPU_LIMIT, "memory": "64Mi"}}
_ANNOTATIONS = {
    "sidecar.istio.io/proxyCPU": ("requests", "cpu"),
    "sidecar.istio.io/proxyMemory": ("requests", "memory"),
    "sidecar.istio.io/proxyCPULimit": ("limits", "cpu"),
    "sidecar.istio.io/proxyMemoryLimit": ("limits", "memory"),
}
_QUANTITY = re.compile(
    r"\+?([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?"
)
_POWERS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_UNITS = {unit: Decimal(10) ** power for unit, power in _POWERS.items()}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}


def of_proxy(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the proxy's requests and limits.

    A default gives way to what the pod says of the other end. Raises ValueError that names the annotation.
    """
    found = {kind: dict(values) for kind, values in _PROXY.items()}
    threads = annotations.get("proxy.refmesh.io/concurrency") or "1"
    if _above(threads, _CPU_LIMIT):
        found["limits"]["cpu"] = threads
    said = dict[tuple[str, str], str]()
    for name, (kind, what) in _ANNOTATIONS.items():
        if not (value := annotations.get(name)):
            continue
        if _amount(value) is None:
            raise ValueError(f"annotation {name}: {value!r} is not a quantity, such as 100m or 128Mi")
        found[kind][what] = value
        said[kind, what] = name
    for what in ("cpu", "memory"):
        request, limit = found["requests"][what], found["limits"][what]
        if not _above(request, limit):
            continue
        if ("limits", what) not in said:
            found["limits"][what] = request
        elif ("requests", what) not in said:
            found["requests"][what] = limit
        else:
            name = said["requests", what]
            raise ValueError(f"annotation {name}: {request} is more than the limit of {limit}")
    return found


def of_init(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the same for the container that captures: its own, but no more CPU than the proxy may use."""
    limit = of_proxy(annotations)["limits"]["cpu"]
    if _above(limit, _CPU_LIMIT):
        limit = _CPU_LIMIT
    request = _INIT["requests"]["cpu"]
    requests = _INIT["requests"] | {"cpu": limit if _above(request, limit) else request}
    return {"requests": requests, "limits": _INIT["limits"] | {"cpu": limit}}


def fitted(resources: object) -> object:
    """Return resources of which others said a part, with the default limit out of the way of a larger request."""
    if not isinstance(resources, Mapping):
        return resources
    requests, limits = resources.get("requests"), resources.get("limits")
    if not isinstance(requests, Mapping) or not isinstance(limits, Mapping) or limits.get("cpu") != _CPU_LIMIT:
        return resources
    request = requests.get("cpu")
    return {**resources, "limits": {**limits, "cpu": request}} if _above(str(request), _CPU_LIMIT) else resources


def _above(one: str, other: str) -> bool:
    first, second = _amount(one), _amount(other)
    return first is not None and second is not None and first > second


def _amount(text: str) -> Decimal | None:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, unit, power = match.groups()
    return Decimal(number) * (_UNITS[unit] if unit else Decimal(10) ** int(power or 0))
