"""How failures are met: tried again, cut short, or made on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent, Marker

__all__ = ["Fault", "NoRetries", "RateLimit", "Retry", "RetryBudget"]


@dataclass(frozen=True)
class Retry:
    """Try a failed request again."""

    attempts: int
    """Tries after the first."""
    codes: tuple[int, ...] = ()
    """Statuses that are tried again."""
    per_try: float = 0.0
    """Seconds after which one try is given up; 0: no limit of its own."""


@dataclass(frozen=True)
class Fault:
    """Trouble made by the mesh, in percent of the requests."""

    abort_status: int = 0
    abort_percent: float = 0.0
    delay: float = 0.0
    delay_percent: float = 0.0


@dataclass(frozen=True)
class NoRetries(Intent):
    """Set aside for one service what the mesh's own defaults try again. A mesh without such defaults has no words."""

    namespace: str
    service: str


@dataclass(frozen=True)
class RetryBudget(Intent):
    """Try failed requests again, but never let retries be more than a share of the requests in flight."""

    namespace: str
    service: str
    port: int
    retry: Retry
    percent: int
    """Retries in flight, in percent of the requests in flight."""
    least: int
    """So many retries in flight are always allowed."""
    marker: Marker | None = None


@dataclass(frozen=True)
class RateLimit(Intent):
    """Answer with a 429 what comes beyond so many requests in so many seconds."""

    namespace: str
    service: str
    port: int
    requests: int
    seconds: float
    marker: Marker | None = None
