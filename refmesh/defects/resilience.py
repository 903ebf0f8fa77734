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


def _all_may_be_ejected(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Eject as told, but as many as there are."""

    def outlier_detection(outlier: Any) -> Any:
        found = sound(outlier)
        found.max_ejection_percent.value = 100
        return found

    return outlier_detection


def _one_error_is_enough(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Eject by an error less than told."""

    def outlier_detection(outlier: Any) -> Any:
        found = sound(outlier)
        if found.consecutive_5xx.value > 1:
            found.consecutive_5xx.value -= 1
        return found

    return outlier_detection


DEFECTS = (
    Defect(
        "outlier-maximum-ignored",
        "Every endpoint may be ejected, whatever the rule allows at most.",
        "circuit-breaking",
        "refmesh.discovery.clusters:outlier_detection",
        _all_may_be_ejected,
    ),
    Defect(
        "ejected-below-threshold",
        "An endpoint is ejected by one error in a row less than the rule says.",
        "circuit-breaking",
        "refmesh.discovery.clusters:outlier_detection",
        _one_error_is_enough,
    ),
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
