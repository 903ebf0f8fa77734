"""Whether the machine stood still while a check went on: then a failure is no verdict on the mesh.

Every program of ours looks at its clock a few times a second, in the pods and in this process, and keeps when it came
late. Whether a failure counts is decided by that alone, never by what failed. A check that measures the machine more
finely (`conformance.pulse`) has judged by that already.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable

__all__ = ["Stalls", "standstill"]

LIMIT = 2.0
"""A shorter stall, seconds, excuses nothing: the tightest bounds of the checks have nearly as much slack in them."""
SHARE = 0.2
"""Nor does one that took a smaller share of the time: what was waited for long has had the time."""
TICK = 0.2
LEAST = 0.3
MAX_KEPT = 1024


class Stalls:
    """When this process got no processor, from `start` on."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=MAX_KEPT)
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, name="stalls", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._looking.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def kept(self) -> list[tuple[float, float]]:
        """Begin (epoch seconds) and length (seconds) of each, oldest first."""
        return list(self._kept)

    def _look(self) -> None:
        due = time.monotonic() + TICK
        while not self._ended.wait(TICK):
            late = time.monotonic() - due
            if late > LEAST:
                self._kept.append((time.time() - late, late))
            due = time.monotonic() + TICK


def standstill(stalls: Iterable[tuple[float, float]], windows: Iterable[tuple[float, float]]) -> float:
    """Seconds of the longest stall that excuses what was seen in any of the windows; 0 without one.

    Stalls are (begin, seconds), windows (begin, end), in epoch seconds.
    """
    known, found = list(stalls), 0.0
    for begin, end in windows:
        least = max(LIMIT, SHARE * (end - begin))
        found = max([found, *(s for at, s in known if at <= end and at + s >= begin and s > least)])
    return found
