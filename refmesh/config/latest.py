"""A memory of one: what was made last, and of what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Latest"]

K = TypeVar("K")
V = TypeVar("V")


class Latest(Generic[K, V]):
    """What was made of a table of a snapshot, kept as long as the next one has the very same table."""

    def __init__(self) -> None:
        self._known: tuple[K, V] | None = None

    def made(self, of: K, make: Callable[[K], V]) -> V:
        """What `make` makes of it, made anew only where it is another object than the last time."""
        if self._known is None or self._known[0] is not of:
            self._known = of, make(of)
        return self._known[1]
