"""What every intent is, and the values that several of them share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backend", "Intent", "Marker"]


@dataclass(frozen=True)
class Intent:
    """One thing that a check wants of a mesh: a frozen value. Durations are seconds."""


@dataclass(frozen=True)
class Backend:
    """Where a share of the requests goes: a version of the routed service, or another service."""

    name: str
    """The key under which weights and counts speak of it."""
    version: str = ""
    """Value of the label `version` of its pods."""
    service: str = ""
    """Name of a service of its own; wins where a mesh routes to services."""


@dataclass(frozen=True)
class Marker:
    """A mark that shows that a configuration is in force: requests with this header all go to one backend.

    Without the configuration they are spread over the service's pods, so a row of answers from the marked backend
    cannot come about by chance.
    """

    header: str
    value: str
    backend: Backend
