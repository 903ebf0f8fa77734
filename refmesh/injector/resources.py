"""What the mesh's two containers ask of a node and may use: defaults, and Istio's annotations about the proxy's. Pure.

By default neither has a limit on CPU, against which a LimitRange may stand; where a quota counts such limits, the
annotation gives both containers one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

__all__ = ["of_init", "of_proxy", "quantity"]

_PROXY = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "512Mi"}}
_INIT = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
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
    said = dict[tuple[str, str], str]()
    for name, (kind, what) in _ANNOTATIONS.items():
        if not (value := annotations.get(name)):
            continue
        if quantity(value) is None:
            raise ValueError(f"annotation {name}: {value!r} is not a quantity, such as 100m or 128Mi")
        found[kind][what] = value
        said[kind, what] = name
    for what in ("cpu", "memory"):
        request, limit = found["requests"][what], found["limits"].get(what)
        if limit is None or not _above(request, limit):
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
    """Return the same for the container that captures: its own, and the proxy's limit on CPU if there is one."""
    found = {kind: dict(values) for kind, values in _INIT.items()}
    if limit := of_proxy(annotations)["limits"].get("cpu"):
        found["limits"]["cpu"] = limit
        if _above(found["requests"]["cpu"], limit):
            found["requests"]["cpu"] = limit
    return found


def _above(one: str, other: str) -> bool:
    first, second = quantity(one), quantity(other)
    return first is not None and second is not None and first > second


def quantity(text: str) -> Decimal | None:
    """Return the number that a quantity of Kubernetes stands for, such as 100m or 128Mi; None for what is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, unit, power = match.groups()
    return Decimal(number) * (_UNITS[unit] if unit else Decimal(10) ** int(power or 0))
