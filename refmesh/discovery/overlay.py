"""A table that is another one but for a few resources, and costs no more than these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from itertools import chain, count

from refmesh.discovery.resource import Encoded, Table

__all__ = ["Draft", "Overlay", "layers"]

_numbers = count()


class Overlay(Mapping[str, Encoded]):
    """The table `below` with the resources of `over` besides or in the place of its own, and `without` some names."""

    def __init__(self, below: Table, over: Mapping[str, Encoded], without: frozenset[str] = frozenset()) -> None:
        self.below, self.over, self.without = below, over, without
        self.number = next(_numbers)
        """Unlike an object's identity it is never taken over by another: it tells which table something is about,
        and does not keep it."""
        self.since: dict[int, tuple[Mapping[str, Encoded], frozenset[str]]] = {}
        """What is different from other overlays, by their numbers."""
        self._size = len(below) + sum(name not in below for name in over) - sum(name in below for name in without)

    def __getitem__(self, name: str) -> Encoded:
        found = self.over.get(name)
        if found is not None:
            return found
        if name in self.without:
            raise KeyError(name)
        return self.below[name]

    def __iter__(self) -> Iterator[str]:
        added = (name for name in self.over if name not in self.below)
        kept = (name for name in self.below if name not in self.without) if self.without else iter(self.below)
        return chain(kept, added)

    def __len__(self) -> int:
        return self._size

    @property
    def touched(self) -> frozenset[str]:
        """The names of which what lies below does not tell."""
        return self.without.union(self.over)

    def same(self, below: Table, over: Mapping[str, Encoded], without: frozenset[str] = frozenset()) -> bool:
        """Whether it is what these make: then it can stand for them, and comparing tables costs nothing."""
        return self.below is below and self.without == without and self.over == over


class Draft(MutableMapping[str, Encoded]):
    """An overlay that is being made: what is put in and taken out is noted, and `below` is not touched."""

    def __init__(self, below: Table) -> None:
        self.below = below
        self._over: dict[str, Encoded] = {}
        self._without: set[str] = set()

    def __getitem__(self, name: str) -> Encoded:
        found = self._over.get(name)
        if found is not None:
            return found
        if name in self._without:
            raise KeyError(name)
        return self.below[name]

    def __setitem__(self, name: str, item: Encoded) -> None:
        self._without.discard(name)
        self._over[name] = item

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._over.pop(name, None)
        if name in self.below:
            self._without.add(name)

    def __contains__(self, name: object) -> bool:
        return name in self._over or (name in self.below and name not in self._without)

    def __iter__(self) -> Iterator[str]:
        return iter(Overlay(self.below, self._over, frozenset(self._without)))

    def __len__(self) -> int:
        return len(Overlay(self.below, self._over, frozenset(self._without)))

    def done(self, before: Table | None) -> Table:
        """The table as it is now: what lies below where nothing differs, the one of last time where that is the same.

        What has been put in with the content that lies below differs in nothing.
        """
        over = {name: item for name, item in self._over.items() if not _alike(self.below.get(name), item)}
        without = frozenset(self._without)
        if not over and not without:
            return self.below
        if isinstance(before, Overlay) and before.same(self.below, over, without):
            return before
        return Overlay(self.below, over, without)


def _alike(one: Encoded | None, other: Encoded) -> bool:
    return one is not None and one.version == other.version


_NONE: frozenset[str] = frozenset()


def layers(table: Table) -> tuple[Table, frozenset[str]]:
    """What lies below, and the names of which that does not tell: none of a table that is no overlay."""
    return (table.below, table.touched) if isinstance(table, Overlay) else (table, _NONE)
