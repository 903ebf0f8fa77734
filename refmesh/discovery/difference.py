"""What is different between two tables of resources, worked out once for all proxies that ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from refmesh.discovery.overlay import Overlay, layers
from refmesh.discovery.resource import Encoded, Table

__all__ = ["changes", "difference"]

_Answer = tuple[Mapping[str, Encoded], frozenset[str]]
_MOST_KEPT = 8
"""Differences that an overlay keeps: most proxies come from the same table, those that were slow from a few others."""


@dataclass
class _DifferenceCache:
    """The last differences between tables. A thousand proxies ask the same question; it is answered once."""

    size: int
    # The tables are kept beside the answer, so that their identities cannot be taken over by new ones.
    answers: OrderedDict[tuple[int, int], tuple[Table, Table, _Answer]] = field(default_factory=OrderedDict)

    def ask(self, old: Table, new: Table) -> _Answer:
        key = (id(old), id(new))
        known = self.answers.get(key)
        if known is None:
            known = (old, new, difference(old, new))
            self.answers[key] = known
            if len(self.answers) > self.size:
                self.answers.popitem(last=False)
        return known[2]


_differences = _DifferenceCache(size=64)


def changes(old: Table, new: Table) -> _Answer:
    """Resources that are new or different, by name, and names that are gone; kept for others who ask the same."""
    if old is new:
        return {}, frozenset()
    if not isinstance(new, Overlay):
        return _overlaid(old, new) if isinstance(old, Overlay) else _differences.ask(old, new)
    if not isinstance(old, Overlay):
        return _overlaid(old, new)
    known = new.since.get(old.number)
    if known is None:
        if len(new.since) >= _MOST_KEPT:
            new.since.clear()
        # Kept with the table: there may be one for every Node, and no number of them is too large.
        known = new.since[old.number] = _overlaid(old, new)
    return known


def difference(old: Table, new: Table) -> _Answer:
    """The same of small tables that hardly anybody shares: not worth keeping."""
    if old is new:
        return {}, frozenset()
    changed = {
        name: item for name, item in new.items() if (before := old.get(name)) is None or before.version != item.version
    }
    return changed, frozenset(name for name in old if name not in new)


def _overlaid(old: Table, new: Table) -> _Answer:
    """Where a resource lies over neither table, what lies below decides, which is asked once for all overlays."""
    (old_below, old_touched), (new_below, new_touched) = layers(old), layers(new)
    changed, gone = changes(old_below, new_below)
    above = old_touched | new_touched
    found = {name: item for name, item in changed.items() if name not in above}
    left = {name for name in gone if name not in above}
    for name in above:
        item, before = new.get(name), old.get(name)
        if item is None:
            if before is not None:
                left.add(name)
        elif before is None or before.version != item.version:
            found[name] = item
    return found, frozenset(left)
