"""Where requests go, and when they are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .base import Backend, Intent, Marker

__all__ = ["ConnectionLimit", "OutlierEjection", "RouteTimeout", "WeightedRoute"]


@dataclass(frozen=True)
class WeightedRoute(Intent):
    """Split the requests to a service by weight, each request drawn on its own."""

    namespace: str
    service: str
    port: int
    weights: tuple[tuple[Backend, int], ...]
    marker: Marker | None = None
    by: Literal["version", "service"] = "version"
    """Whether the backends are versions of the one service or services of their own; a mesh that knows one way only
    uses it for both."""
    protocol: Literal["http", "grpc"] = "http"


@dataclass(frozen=True)
class OutlierEjection(Intent):
    """Eject a host after consecutive server errors, for a while."""

    namespace: str
    service: str
    port: int
    consecutive: int
    interval: float
    ejection: float
    """How long the first ejection lasts."""
    most_percent: int = 100
    marker: Marker | None = None


@dataclass(frozen=True)
class ConnectionLimit(Intent):
    """Cap what one client may have open towards a service; what goes beyond is refused at once with a 503."""

    namespace: str
    service: str
    port: int
    connections: int
    pending: int
    requests: int
    marker: Marker | None = None


@dataclass(frozen=True)
class RouteTimeout(Intent):
    """Answer with a 504 when a service has not answered in time."""

    namespace: str
    service: str
    port: int
    seconds: float
