"""A table that is another one but for a few resources, and costs no more than these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from refmesh.discovery.resource import Encoded, Table

__all__ = ["Overlay", "layers"]

_numbers = count()


class Overlay(Mapping[str, Encoded]):
    """The table `below` with the resources of `over` in the place of its own. It has all names of `over`."""

    def __init__(self, below: Table, over: Mapping[str, Encoded]) -> None:
        self.below, self.over = below, over
        self.number = next(_numbers)
        """Unlike an object's identity it is never taken over by another: it tells which table something is about,
        and does not keep it."""
        self.since: dict[int, tuple[Mapping[str, Encoded], frozenset[str]]] = {}
        """What is different from other overlays, by their numbers."""

    def __getitem__(self, name: str) -> Encoded:
        found = self.over.get(name)
        return self.below[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self.below)

    def __len__(self) -> int:
        return len(self.below)


_NOTHING: Mapping[str, Encoded] = {}


def layers(table: Table) -> tuple[Table, Mapping[str, Encoded]]:
    """What lies below, and what over it: nothing over a table that is no overlay."""
    return (table.below, table.over) if isinstance(table, Overlay) else (table, _NOTHING)
