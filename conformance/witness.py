"""A witness of the machine itself: whether it was quick enough for what a check says about time.

While it watches, a thread asks control ports on pods' loopback, which no mesh captures, for a word every few hundredths
of a second. If even that takes long, the machine or the cluster stood still, and a late answer of the mesh proves
nothing. It excuses failures only: nothing passes because of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from conformance.model import Judgement
from fixtures.workloads.traffic import Control, OrderRefused
from reports.errors import EnvironmentProblem
from reports.model import Verdict

__all__ = ["Witness", "excused"]

PAUSE = 0.04


class Witness:
    """Asks while its `with` block runs; afterwards `slowest` is the longest answer in seconds."""

    def __init__(self, ports: Sequence[tuple[Control, str]]) -> None:
        self._ports = ports
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)
        self.slowest = 0.0
        self.asked = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(PAUSE):
            for control, path in self._ports:
                started = time.monotonic()
                try:
                    control.order("GET", path)
                except OrderRefused:
                    pass  # "no such job" is an answer, and a quick one
                except EnvironmentProblem:
                    return  # the pod is gone; what that means, the check finds out by itself
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.asked += 1


def excused(judgement: Judgement, stall: float, limit: float) -> Judgement:
    """A failure is no verdict where the machine stood still for longer than `limit` seconds meanwhile."""
    if judgement.verdict is not Verdict.FAIL or stall <= limit:
        return judgement
    reason = f"the machine itself stood still for {stall:.1f} s meanwhile, so this proves nothing: {judgement.reason}"
    return Judgement(Verdict.INCONCLUSIVE, reason, judgement.evidence, judgement.error_rates, judgement.plots)
