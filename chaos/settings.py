"""Every duration and threshold of the runner, in one place."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Seconds, unless said otherwise. The defaults keep four experiments within the time of the main run."""

    rate: float = 100.0
    """Requests per second of the background load."""
    users: int = 24
    """Connections of the background load."""
    before: float = 2.0
    """Steady traffic before the fault."""
    during: float = 3.5
    """From the injection to the undo, at least; longer when the fault lands late."""
    after: float = 0.7
    """Recorded on after the recovery."""
    steady_span: float = 1.0
    """Traffic is steady when this long a span was served in full."""
    steady_timeout: float = 15.0
    """For traffic to become steady before the fault."""
    landed_timeout: float = 8.0
    """For the landed-probe."""
    recover_timeout: float = 25.0
    """For the recovery after the undo; where pods must come back first, from their readiness on."""
    ready_timeout: float = 60.0
    """For the pods of the scene, and for those that a fault has taken away."""
    strict_timeout: float = 15.0
    """For strict mutual TLS to be in force."""
