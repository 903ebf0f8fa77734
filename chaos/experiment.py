"""What an experiment is: a fault, a load, a hypothesis as a pure judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chaos.model import Fault, Judge
from chaos.scene import Scene
from reports.model import JSON, Verdict

__all__ = ["Experiment", "NotHere", "Setup"]


class NotHere(Exception):
    """The mesh has nothing that the experiment could break; the text says what."""


@dataclass(frozen=True)
class Setup:
    """What an experiment does on one scene."""

    fault: Fault
    url: str
    """Where the background load goes."""
    recovered: Callable[[], bool] = lambda: True
    """What must hold after the undo beside steady traffic."""
    rate: float | None = None
    users: int | None = None
    timeout: float = 5.0
    """The client's own, seconds."""
    landed_timeout: float | None = None
    before: float | None = None
    during: float | None = None
    """Instead of the settings' own."""
    hold: float = 1.5
    """Seconds that the fault is held at least after it has landed."""
    facts: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One entry of the catalogue."""

    id: str
    title: str
    hypothesis: str
    fault: str
    """Name of the fault it injects."""
    prepare: Callable[[Scene], Setup]
    """Raises NotHere where the mesh has nothing to break."""
    judge: Judge
    proves: tuple[str, ...] = ()
    expected: Verdict = Verdict.PASS
    disruptive: bool = False
    """Whether it breaks the mesh itself, and not only workloads of its own."""
    lossless: bool = False
    """Whether a single failed request fails it."""
