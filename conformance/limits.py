"""Every time limit of the checks. One object a process: a run's settings change it before the first check begins."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["LIMITS", "Limits", "limit"]


@dataclass
class Limits:
    """Seconds. Bounds are generous: a clean run never comes near them."""

    in_force: float = 10.0
    """A configuration shows its mark."""
    ground_ready: float = 60.0
    """The pods of a ground are Ready."""
    probe: float = 3.0
    """One request of a gate or of a plaintext attempt."""
    request: float = 10.0
    """One request of judged traffic."""
    readiness: float = 15.0
    """A pod's readiness follows its application."""
    job: float = 30.0
    """A pod has started and its program has ended; a Job whose programs have ended is complete."""
    control: float = 10.0
    """One call to a control port of a workload."""


LIMITS = Limits()


def limit(wanted: Limits) -> None:
    """Take over the limits of a run."""
    for one in fields(Limits):
        setattr(LIMITS, one.name, getattr(wanted, one.name))
