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
    ready: Callable[[], bool] = lambda: True
    """Whether what the fault took is there again. When that is, is not the mesh's to decide."""
    awaited: str = "what the fault took"
    """What that is, in words."""
    lasting: bool = True
    """Whether the fault lasts until it is taken back. Where it happens and is over, recovery counts from there, though
    nobody looks for it before the undo."""
    recovered: Callable[[], bool] = lambda: True
    """What the mesh must do after that, beside steady traffic."""
    observe: Callable[[float], object] = lambda _: None
    """Called again and again from the proof of the fault to the recovery, with the seconds since the injection."""
    rate: float | None = None
    users: int | None = None
    timeout: float = 5.0
    """The client's own, seconds."""
    landed_timeout: float | None = None
    before: float | None = None
    during: float | None = None
    """All three instead of the settings' own."""
    hold: float = 1.5
    """Seconds that the fault is held at least after it has landed."""
    victims: tuple[str, ...] = ()
    """Pods of the scene that the experiment itself takes away."""
    cuts: bool = False
    """Whether requests are meant to be cut off, so that how long it took counts also of those that were."""
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
