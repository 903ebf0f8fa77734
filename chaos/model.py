"""What the rooms of chaos pass to each other: faults as data, the recorded history, the judgement. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from load.sample import Sample, said_no
from reports.model import JSON, Verdict

if TYPE_CHECKING:
    from fixtures.kube import Kube  # the janitor's pod has no Kubernetes client

__all__ = [
    "ATTACKS",
    "SILENCE",
    "Attempt",
    "Cluster",
    "Fault",
    "History",
    "Judge",
    "Judgement",
    "Marks",
    "Right",
    "Sample",
    "Undo",
]


ATTACKS = ("plaintext", "tls-no-certificate", "tls-foreign-certificate")
"""What the client without rights tries; each must have been refused before safety counts as tested."""
SILENCE = "no answer in time"
"""Detail of an attempt that was neither served nor refused."""


@dataclass(frozen=True)
class Undo:
    """How to take a fault back, as data: written to the log before the fault acts, replayed by whoever is alive."""

    fault: str
    arguments: Mapping[str, JSON]


@dataclass(frozen=True)
class Right:
    """One right that the janitor needs to take a fault back. An empty namespace means cluster-wide."""

    namespace: str
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()


class Cluster(Protocol):
    """What an undo needs of a cluster: the runner's Kube has it, and so has the janitor's own small client."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object, or None."""

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str | Mapping[str, str] = ""
    ) -> list[dict[str, Any]]:
        """Objects of a kind."""

    def patch(
        self, api_version: str, kind: str, name: str, body: object, namespace: str | None = None, subresource: str = ""
    ) -> dict[str, Any]:
        """A merge patch."""

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete; True if it was there."""


class Fault(Protocol):
    """One fault against one target. Every method may raise MeshproofError."""

    name: ClassVar[str]
    about: ClassVar[str]

    def available(self, kube: Kube) -> str:
        """Why the fault cannot be injected here, "" if it can."""

    def plan(self, kube: Kube) -> Undo:
        """The undo, complete before anything has changed."""

    def inject(self, kube: Kube) -> None:
        """Act."""

    def landed(self, kube: Kube) -> str:
        """What shows that the fault is in force, seen by another way than it was injected; "" if nothing does yet."""

    def rights(self) -> tuple[Right, ...]:
        """What the janitor needs to replay the undo."""

    @staticmethod
    def undo(kube: Cluster, arguments: Mapping[str, JSON]) -> None:
        """Take the fault back; harmless when it was never there or is gone already."""


@dataclass(frozen=True)
class Attempt:
    """One try of a client that has no right to be served."""

    at: float
    """Epoch seconds of the runner's clock."""
    attack: str
    reached: bool
    """Whether a connection came about: a refusal counts only when there was something to refuse."""
    through: bool
    """Whether the workload itself answered."""
    detail: str

    @property
    def refused(self) -> bool:
        """Whether the far side said no."""
        return said_no(reached=self.reached, served=self.through, silent=self.detail == SILENCE)


@dataclass(frozen=True)
class Marks:
    """When things happened, epoch seconds of the runner's clock; None where they did not."""

    started: float
    injected: float
    landed: float | None
    undone: float
    recovered: float | None
    """When traffic was steady and all that must hold beside it held."""
    ended: float
    steady: float | None = None
    """When traffic was steady after the undo, whatever else must hold."""
    ready: float | None = None
    """When what the fault took was there again."""


@dataclass(frozen=True)
class History:
    """Everything recorded in one experiment; judging needs nothing else."""

    samples: tuple[Sample, ...]
    attempts: tuple[Attempt, ...]
    marks: Marks
    landed: str
    """What showed that the fault was in force; "" when nothing did."""
    unasked: str = ""
    """Why it could not be found out whether the fault was in force; "" where it could."""
    held: bool = True
    """Whether that showed at the end still, before the fault was taken back."""
    awaited: str = "what the fault took"
    """What must be there again before the mesh can recover, in words."""
    lasting: bool = True
    """Whether the fault lasts until it is taken back; else the mesh can recover from the injection on."""
    cuts: bool = False
    """Whether requests are meant to be cut off: percentiles are then of all of them, and else of those served."""
    timeout: float = 5.0
    """Seconds from when a request was due after which whoever sent it has no use for an answer: the client's own."""
    pulse: tuple[tuple[float, float], ...] = ()
    """When the load driver meant to wake up, and how many seconds late it was: how busy the machine itself was."""
    arrivals: int | None = None
    """Requests that the echo servers saw from the load, retries included; None where it is not known."""
    sent: int = 0
    """Requests of the load to which these arrivals belong: also those before the start and after the end."""
    strays: tuple[str, ...] = ()
    """What became of pods that the experiment had left alone, in words: not the mesh's doing, or nobody knows whose."""
    crashes: tuple[str, ...] = ()
    """What containers of such pods ended by themselves, in words: that excuses nobody."""
    facts: Mapping[str, JSON] = field(default_factory=dict)
    """What the experiment noted beside the traffic, such as the name of the pod it killed."""

    @property
    def over(self) -> float:
        """From when on nothing keeps the mesh from recovering, epoch seconds."""
        return self.marks.undone if self.lasting else self.marks.injected


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reason."""

    verdict: Verdict
    reason: str


Judge = Callable[[History], Judgement]
