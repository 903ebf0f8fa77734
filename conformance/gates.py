"""Gates: what marked requests are answered once a configuration is in force, and nobody else's are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from conformance.intents import Backend
from fixtures.workloads.traffic import Batch, Record

__all__ = ["CALM", "FIRST", "MARK_ROW", "Gate", "gate_open"]

MARK_ROW = 30
"""Answers in a row that make a mark. Of two backends chance makes such a row in one look with 2^-30, below 1e-9; in the
few hundred looks for which there is time before a configuration must be in force, with 1e-6 at the most."""
FIRST = 3
"""Requests with which a row begins: what is not in force yet mostly shows by these, and the next look comes sooner."""


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


def gate_open(
    ask: Callable[[Batch], Sequence[Record]], ordinary: Batch | None, marked: Batch, backend: Backend
) -> bool:
    """Whether a configuration shows its mark: an ordinary request reaches others too, marked ones nobody else.

    It asks no more than it takes to know: of the ordinary requests up to one that got elsewhere, of the marked ones up
    to one that did.
    """
    if ordinary is not None and not any(_elsewhere(one, backend) for row in _row(ask, ordinary) for one in row):
        return False
    reached = 0
    for row in _row(ask, marked):
        if not all(_reached(one, backend) for one in row):
            return False
        reached += len(row)
    return reached >= MARK_ROW


def _row(ask: Callable[[Batch], Sequence[Record]], batch: Batch) -> Iterator[Sequence[Record]]:
    """The answers to a batch, the first few by themselves."""
    for count in (FIRST, MARK_ROW - FIRST):
        yield ask(replace(batch, count=count))


def _elsewhere(record: Record, backend: Backend) -> bool:
    return record.ok and bool(record.version) and not _reached(record, backend)


def _reached(record: Record, backend: Backend) -> bool:
    return record.ok and record.version == backend.version
