"""The list of defects, and how one is switched on."""

from __future__ import annotations

import importlib
from typing import Any

from refmesh.defects import (
    authorization,
    certificates,
    discovery,
    endpoints,
    gateway,
    injection,
    lifecycle,
    mtls,
    resilience,
    routing,
    telemetry,
)
from refmesh.defects.defect import Defect
from refmesh.defects.equivalents import EQUIVALENTS
from refmesh.errors import UsageProblem

__all__ = ["catalogue", "equivalents", "seam", "switch_on"]

_DEFECTS = (
    *routing.DEFECTS,
    *discovery.DEFECTS,
    *mtls.DEFECTS,
    *injection.DEFECTS,
    *resilience.DEFECTS,
    *endpoints.DEFECTS,
    *lifecycle.DEFECTS,
    *certificates.DEFECTS,
    *authorization.DEFECTS,
    *telemetry.DEFECTS,
    *gateway.DEFECTS,
)


def catalogue() -> tuple[Defect, ...]:
    """Every defect there is."""
    return _DEFECTS


def equivalents() -> tuple[Defect, ...]:
    """Variants that look different and behave the same."""
    return EQUIVALENTS


def switch_on(name: str) -> Defect:
    """Put a defect, or an equivalent, into this process. Raises `UsageProblem` for an unknown name."""
    defect = next((defect for defect in (*_DEFECTS, *EQUIVALENTS) if defect.name == name), None)
    if defect is None:
        known = ", ".join(sorted(defect.name for defect in _DEFECTS))
        raise UsageProblem(f"There is no defect {name!r}.", fix=f"Known defects: {known}.")
    owner, name = seam(defect)
    setattr(owner, name, defect.make(getattr(owner, name)))
    return defect


def seam(defect: Defect) -> tuple[Any, str]:
    """Where a defect is: a module, or a class in it, and the name of the function there."""
    module, _, path = defect.seam.partition(":")
    *within, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for one in within:
        owner = getattr(owner, one)
    return owner, name
