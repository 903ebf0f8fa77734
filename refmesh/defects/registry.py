"""The list of defects, and how one is switched on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from refmesh.defects import wrong
from refmesh.errors import UsageProblem

__all__ = ["Defect", "catalogue", "switch_on"]


@dataclass(frozen=True)
class Defect:
    """One fault: `make` gets the sound function of the seam `module:function` and gives the unsound one."""

    name: str
    summary: str
    capability: str
    seam: str
    make: Callable[[Callable[..., Any]], Callable[..., Any]]


_DEFECTS = (
    Defect(
        "weights-off-by-5",
        "Traffic shares are five points away from what the route says.",
        "weights",
        "refmesh.discovery.routes:weighted_shares",
        wrong.five_points_off,
    ),
    Defect(
        "strict-served-as-permissive",
        "STRICT workloads accept plaintext.",
        "mtls",
        "refmesh.discovery.policy:mode_in_force",
        wrong.never_strict,
    ),
    Defect(
        "opt-out-ignored",
        "Pods that opt out of injection are injected all the same.",
        "injection",
        "refmesh.injector.policy:opt_out_values",
        wrong.nothing_opts_out,
    ),
    Defect(
        "ejected-host-never-returns",
        "An endpoint that was ejected stays out for hours.",
        "circuit-breaking",
        "refmesh.discovery.clusters:outlier_detection",
        wrong.ejected_for_hours,
    ),
    Defect(
        "connection-limit-ignored",
        "Limits on connections and requests are not handed to the proxy.",
        "circuit-breaking",
        "refmesh.discovery.clusters:circuit_breakers",
        wrong.no_limits,
    ),
    Defect(
        "san-from-csr",
        "The CA signs whatever identity the request asks for.",
        "identity",
        "refmesh.ca.signing:subject_uri",
        wrong.identity_as_asked,
    ),
)


def catalogue() -> tuple[Defect, ...]:
    """Every defect there is."""
    return _DEFECTS


def switch_on(name: str) -> Defect:
    """Put a defect into this process. Raises `UsageProblem` for an unknown name."""
    defect = next((defect for defect in _DEFECTS if defect.name == name), None)
    if defect is None:
        known = ", ".join(sorted(defect.name for defect in _DEFECTS))
        raise UsageProblem(f"There is no defect {name!r}.", fix=f"Known defects: {known}.")
    module_name, _, function = defect.seam.partition(":")
    module = importlib.import_module(module_name)
    setattr(module, function, defect.make(getattr(module, function)))
    return defect
