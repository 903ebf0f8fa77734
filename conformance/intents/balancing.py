"""Which endpoint of a service gets the next request."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent, Marker

__all__ = ["RoundRobin", "StickyHeader"]


@dataclass(frozen=True)
class RoundRobin(Intent):
    """Give requests to the endpoints of a service in turn."""

    namespace: str
    service: str
    port: int
    marker: Marker | None = None


@dataclass(frozen=True)
class StickyHeader(Intent):
    """Give requests with the same value of a header to the same endpoint of a service."""

    namespace: str
    service: str
    port: int
    header: str
    marker: Marker | None = None
