"""Defects in resilience: which hosts and connections are spared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _ejected_for_hours(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Eject as told, but for a day."""

    def outlier_detection(outlier: Any) -> Any:
        found = sound(outlier)
        found.base_ejection_time.seconds, found.base_ejection_time.nanos = 86_400, 0
        found.max_ejection_time.seconds = 86_400
        return found

    return outlier_detection


def _no_limits(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forget the limits on connections, requests and pending requests."""

    def circuit_breakers(pool: Any) -> Any:
        return sound(replace(pool, max_connections=None, max_pending_requests=None, max_requests=None))

    return circuit_breakers


DEFECTS = (
    Defect(
        "ejected-host-never-returns",
        "An endpoint that was ejected stays out for hours.",
        "circuit-breaking",
        "refmesh.discovery.clusters:outlier_detection",
        _ejected_for_hours,
    ),
    Defect(
        "connection-limit-ignored",
        "Limits on connections and requests are not handed to the proxy.",
        "circuit-breaking",
        "refmesh.discovery.clusters:circuit_breakers",
        _no_limits,
    ),
)
