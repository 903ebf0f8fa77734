"""How many pods of a run start at the same time.

A small cluster on which everything starts at once starts nothing: proxies, probes and hooks wait for each other, probes
run out of time, and the first check begins when the last pod is Ready. In turns the first ground is judged while the
next one starts.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["Pace", "pods_at_once"]

PER_CORE = 7
FEWEST = 14
"""A ground or two."""


def pods_at_once(nodes: Iterable[Mapping[str, Any]], pods: int) -> float:
    """How many of a run's pods these nodes start at once, by their allocatable processors (`2`, or `1930m`).

    A run of at most twice as many starts whole: it is over with before much is judged that it could disturb.
    """
    cores = sum(map(_cores, nodes))
    most = max(FEWEST, math.floor(PER_CORE * cores))
    return most if pods > 2 * most else math.inf


def _cores(node: Mapping[str, Any]) -> float:
    text = str(node.get("status", {}).get("allocatable", {}).get("cpu", "0"))
    try:
        return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
    except ValueError:
        return 0.0


class Pace:
    """A line of grounds: each starts when it is at the head and its pods fit, or none is starting."""

    def __init__(self, most: float = math.inf) -> None:
        self._most = most
        self._starting = 0
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    def place(self) -> object:
        """A place at the end of the line, for `turn`."""
        place = object()
        with self._changed:
            self._line.append(place)
        return place

    @contextmanager
    def turn(self, place: object, pods: int) -> Iterator[None]:
        """Wait until it is this place's turn; its pods count as starting while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._line[0] is place and self._fits(pods))
            self._line.popleft()
            self._starting += pods
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._starting -= pods
                self._changed.notify_all()

    def _fits(self, pods: int) -> bool:
        return not self._starting or self._starting + pods <= self._most

    def give_up(self) -> None:
        """From now on everything starts at once: what is waited for does not come about, or the run is over."""
        with self._changed:
            self._most = math.inf
            self._changed.notify_all()
