"""The stages of a run: each timed, shown while it runs, and kept with what went wrong in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from reports.console import Step, step
from reports.errors import MeshproofError
from reports.model import Stage

__all__ = ["Stages"]


class Stages:
    """The record of the stages so far, in the order in which they began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: list[Stage | None] = []

    @property
    def done(self) -> tuple[Stage, ...]:
        """The stages that have ended."""
        return tuple(stage for stage in self._slots if stage is not None)

    @contextmanager
    def stage(self, name: str) -> Iterator[Step]:
        """Run a stage; its time and its problem are recorded also when it fails, and the failure goes on."""
        with self._lock:
            slot = len(self._slots)
            self._slots.append(None)
        current: Step | None = None
        problem = ""
        try:
            with step(name) as current:
                yield current
        except BaseException as error:
            problem = one_sentence(error)
            raise
        finally:
            if current is not None:
                self._slots[slot] = Stage(name, round(current.seconds, 3), current.detail, problem)


def one_sentence(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, MeshproofError):
        return error.problem
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
