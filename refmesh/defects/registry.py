"""The list of defects, and how one is switched on."""

from __future__ import annotations

import importlib

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

__all__ = ["catalogue", "equivalents", "switch_on"]

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
    module_name, _, function = defect.seam.partition(":")
    module = importlib.import_module(module_name)
    setattr(module, function, defect.make(getattr(module, function)))
    return defect
