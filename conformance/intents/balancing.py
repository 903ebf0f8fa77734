"""Which endpoint of a service gets the next request."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent, Marker
from .traffic import OutlierEjection

__all__ = ["EachRequest", "InLocality", "LocalityFailover", "RoundRobin", "StickyHeader"]


@dataclass(frozen=True)
class EachRequest(Intent):
    """Choose an endpoint of a service for each request, not once for a connection.

    Sidecars do so by themselves; a proxy that forwards TCP has to be told, or cannot.
    """

    namespace: str
    service: str
    port: int


@dataclass(frozen=True)
class InLocality(Intent):
    """Count a pod as being in a zone, wherever its node is."""

    region: str
    zone: str


@dataclass(frozen=True)
class LocalityFailover(Intent):
    """Give requests to the hosts in the client's zone, and to others only once those are ejected."""

    ejection: OutlierEjection
    """Of which service, when a host is ejected, and the mark."""


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
