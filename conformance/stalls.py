"""Whether the machine stood still while a check went on: then a failure is no verdict on the mesh.

Every program of ours looks at its clock a few times a second, in the pods and in this process, and keeps when it came
late. Whether a failure counts is decided by that, and by whether a machine can bring it about at all: a caller who is
denied and answered is so on any machine (`Judgement.whatever_the_machine`). A check that measures the machine more
finely (`conformance.pulse`) has judged by that already.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from fixtures.workloads.pod.stalls import TICK, Stalls, begun

__all__ = ["Watch", "by_nobody", "few_late", "standstill"]

LIMIT = 2.0
"""A shorter stall, seconds, excuses nothing: the tightest bounds of the checks have nearly as much slack in them."""
SHARE = 0.2
"""Nor does one that took a smaller share of the time: what was waited for long has had the time."""


class Watch:
    """Looks when this process got no processor, from `start` on."""

    def __init__(self) -> None:
        self._stalls = Stalls()
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, name="stalls", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._looking.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def stalls(self) -> list[tuple[float, float]]:
        """Begin (epoch seconds) and length (seconds) of each, oldest first."""
        return begun(self._stalls.ages())

    def _look(self) -> None:
        while not self._ended.wait(TICK):
            self._stalls.look()


def standstill(stalls: Iterable[tuple[float, float]], windows: Iterable[tuple[float, float]]) -> float:
    """Seconds of the longest stall that excuses what was seen in any of the windows; 0 without one.

    Stalls are (begin, seconds), windows (begin, end), in epoch seconds.
    """
    known, found = list(stalls), 0.0
    for begin, end in windows:
        least = max(LIMIT, SHARE * (end - begin))
        found = max([found, *(s for at, s in known if at <= end and at + s >= begin and s > least)])
    return found


def few_late(late: int, total: int) -> int:
    """Requests that nobody answered in time, where a busy machine may have done it: one, or one of a hundred.

    0 where they are more: then they are the mesh's, unless the machine is known to have stood still.
    """
    return late if late < total and late <= max(1, total // 100) else 0


def by_nobody(ends: Mapping[str, int], total: int) -> int:
    """Of so many requests those that nobody answered, by how they ended: they were neither served nor refused.

    That is those that ran into a timeout, and a few that found no way: a node that changes how Services are led to
    their pods loses one now and then.
    """
    return ends.get("timeout", 0) + few_late(ends.get("unreachable", 0), total)
