"""Gates: what marked requests are answered once a configuration is in force, and nobody else's are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from conformance.intents import Backend
from fixtures.workloads.traffic import Batch, Record

__all__ = ["CALM", "FIRST", "MARK_ROW", "Gate", "Look", "gates_open"]

MARK_ROW = 30
"""Answers in a row that make a mark. Of two backends chance makes such a row in one look with 2^-30, below 1e-9; in the
few hundred looks for which there is time before a configuration must be in force, with 1e-6 at the most."""
FIRST = 3
"""Requests with which a row begins: what is not in force yet mostly shows by these, and the next look comes sooner."""

Ask = Callable[[Sequence[Batch]], Sequence[Sequence[Record]]]


@dataclass(frozen=True)
class Gate:
    """How a gate asks."""

    port: int = 8080
    protocol: str = "http1"
    path: str = "/"
    """Path of the marked requests."""
    ordinary: str = "/"
    """Path of the ordinary ones; "" asks none, where no other configuration can lead to the marked backend."""
    at_once: int = 4
    """Requests that are under way together."""
    client: str = ""
    """The client workload that asks."""
    timeout: float | None = None
    """Seconds; None: as the run's settings say."""


CALM = Gate(at_once=1)
"""Where a cap is in force, or a mesh may cap by mistake, as where it ejects: it could refuse what is asked at the same
time, and the check that would say so would not get beyond its gate."""


@dataclass(frozen=True)
class Look:
    """A look at one gate: what is asked, and who must answer."""

    ordinary: Batch | None
    marked: Batch
    backend: Backend
    """Answers every marked request, and not every ordinary one."""


def gates_open(ask: Ask, looks: Sequence[Look]) -> tuple[bool, ...]:
    """Which configurations show their marks: an ordinary request reaches others too, marked ones nobody else.

    All that can be asked together is one order. It asks no more than it takes to know: where the first few requests
    show that a configuration is not in force they are the only ones, and of the ordinary requests it asks more only as
    long as none got elsewhere.
    """
    marked = {number: look.marked for number, look in enumerate(looks)}
    ordinary = {number: look.ordinary for number, look in enumerate(looks) if look.ordinary is not None}

    def spread(answers: Mapping[int, Sequence[Record]]) -> set[int]:
        return {number for number, row in answers.items() if any(_elsewhere(one, looks[number].backend) for one in row)}

    def shown(answers: Mapping[int, Sequence[Record]], count: int) -> set[int]:
        reached = {number: sum(_reached(one, looks[number].backend) for one in row) for number, row in answers.items()}
        return {number for number, row in answers.items() if len(row) == reached[number] >= count}

    others, row = _asked(ask, FIRST, ordinary, marked)
    hopeful = shown(row, FIRST)
    if unsure := {number: ordinary[number] for number in others.keys() & hopeful - spread(others)}:
        others, _ = _asked(ask, MARK_ROW - FIRST, unsure, {})
        hopeful -= unsure.keys() - spread(others)
    _, row = _asked(ask, MARK_ROW - FIRST, {}, {number: marked[number] for number in sorted(hopeful)})
    opened = shown(row, MARK_ROW - FIRST)
    return tuple(number in opened for number in range(len(looks)))


def _asked(
    ask: Ask, count: int, ordinary: Mapping[int, Batch], marked: Mapping[int, Batch]
) -> tuple[dict[int, Sequence[Record]], dict[int, Sequence[Record]]]:
    """The answers to so many requests of each kind, by the look's number."""
    batches = [replace(one, count=count) for one in (*ordinary.values(), *marked.values())]
    answers = ask(batches) if batches else ()
    cut = len(ordinary)
    return dict(zip(ordinary, answers[:cut], strict=True)), dict(zip(marked, answers[cut:], strict=True))


def _elsewhere(record: Record, backend: Backend) -> bool:
    return record.ok and bool(record.version) and not _reached(record, backend)


def _reached(record: Record, backend: Backend) -> bool:
    return record.ok and record.version == backend.version
