"""Defects in resilience: which hosts and connections are spared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from refmesh.api.limits import ConnectionPool
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


def _nobody_is_ejected(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Count errors, and eject nobody for them."""

    def outlier_detection(outlier: Any) -> Any:
        found = sound(outlier)
        found.enforcing_consecutive_5xx.value = 0
        found.enforcing_consecutive_gateway_failure.value = 0
        return found

    return outlier_detection


def _boundless_budget(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Let every request be sent again, whatever share of the traffic that is."""
    return lambda budget: sound(replace(budget, percent=100.0, min_retry_concurrency=1_000_000))


def _one_attempt(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Send nothing again."""
    _ = sound
    return lambda _: 0


def _patient_tries(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forget the time limit of a single attempt."""
    return lambda retry: sound(replace(retry, per_try_timeout=None))


def _slow_tries(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Give each attempt three times its time limit."""

    def retry_policy(retry: Any) -> Any:
        limit = retry.per_try_timeout
        return sound(retry if limit is None else replace(retry, per_try_timeout=3 * limit))

    return retry_policy


def _back_at_once(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Let an ejected host back when it has served a little more than half of its time."""

    def outlier_detection(outlier: Any) -> Any:
        time = outlier.base_ejection_time
        return sound(replace(outlier, base_ejection_time=0.6 * time) if time is not None else outlier)

    return outlier_detection


def _one_at_a_time(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Where errors eject, let no two requests be under way."""

    def limited(spec: Any, settings: Any, seconds: float, **more: Any) -> Any:
        if spec.policy.outlier is not None:
            pool = replace(spec.policy.pool or ConnectionPool(), max_requests=1, max_pending_requests=1)
            spec = replace(spec, policy=replace(spec.policy, pool=pool))
        return sound(spec, settings, seconds, **more)

    return limited


def _within_the_mesh(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take a cap on connections for one that all clients have together, and leave each next to nothing of it."""

    def circuit_breakers(pool: Any) -> Any:
        found = sound(pool)
        if pool.max_requests is not None:
            found.thresholds[0].max_requests.value = 0
        return found

    return circuit_breakers


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
    Defect(
        "outlier-detection-ignored",
        "No endpoint is ever ejected.",
        "circuit-breaking",
        "refmesh.discovery.clusters:outlier_detection",
        _nobody_is_ejected,
    ),
    Defect(
        "retry-budget-ignored",
        "Retries may be any share of the traffic.",
        "resilience",
        "refmesh.discovery.clusters:retry_budget",
        _boundless_budget,
    ),
    Defect(
        "retries-dropped",
        "A failed request is never sent again.",
        "resilience",
        "refmesh.discovery.route_action:tries",
        _one_attempt,
    ),
    Defect(
        "per-try-limit-dropped",
        "A single attempt may take as long as the whole request.",
        "resilience",
        "refmesh.discovery.route_action:_retry_policy",
        _patient_tries,
    ),
    Defect(
        "per-try-limit-times-3",
        "A single attempt may take three times its time limit.",
        "resilience",
        "refmesh.discovery.route_action:_retry_policy",
        _slow_tries,
    ),
    Defect(
        "ejection-too-short",
        "An ejected host is back when little more than half of its time is over.",
        "circuit-breaking",
        "refmesh.discovery.clusters:outlier_detection",
        _back_at_once,
    ),
    Defect(
        "ejection-caps-the-others",
        "Where outlier detection is asked for, only one request may be under way.",
        "circuit-breaking",
        "refmesh.discovery.clusters:_limited",
        _one_at_a_time,
    ),
    Defect(
        "cap-refuses-all",
        "Where requests are capped, every client is refused.",
        "circuit-breaking",
        "refmesh.discovery.clusters:circuit_breakers",
        _within_the_mesh,
    ),
)
