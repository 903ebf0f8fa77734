"""Who gets in where there is room for some only: no namespace crowds the others out, least of all what is in force."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

__all__ = ["chosen"]

T = TypeVar("T")
_IN_FORCE = 4
"""As many things in force count as one that is not, so that who asks for more and more ends nothing of others."""


def chosen(wanted: Iterable[tuple[str, T]], held: Collection[T], room: int) -> list[T]:
    """Return as many things as there is room for, out of those that namespaces want, the older first.

    Each namespace has as many as the others, as far as it wants them. Of the same namespace, what is `held` comes
    first, and it is given up to others only where it is several times as much as they have.
    """
    by_namespace: dict[str, dict[T, None]] = {}
    for namespace, thing in wanted:
        by_namespace.setdefault(namespace, {}).setdefault(thing)
    turns: dict[T, int] = {}
    for things in by_namespace.values():
        for place, thing in enumerate(sorted(things, key=lambda thing: thing not in held)):
            turn = place // _IN_FORCE if thing in held else place
            turns[thing] = min(turn, turns.get(thing, turn))
    return sorted(turns, key=lambda thing: (turns[thing], thing not in held))[:room]
