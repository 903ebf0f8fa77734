"""What is different between two tables of resources, worked out once for all proxies that ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from refmesh.discovery.resource import Encoded, Table

__all__ = ["changes"]


@dataclass
class _DifferenceCache:
    """The last differences between tables. A thousand proxies ask the same question; it is answered once."""

    size: int
    # The tables are kept beside the answer, so that their identities cannot be taken over by new ones.
    answers: OrderedDict[tuple[int, int], tuple[Table, Table, dict[str, Encoded], frozenset[str]]] = field(
        default_factory=OrderedDict
    )

    def ask(self, old: Table, new: Table) -> tuple[Mapping[str, Encoded], frozenset[str]]:
        key = (id(old), id(new))
        known = self.answers.get(key)
        if known is None:
            changed = {
                name: item
                for name, item in new.items()
                if (before := old.get(name)) is None or before.version != item.version
            }
            known = (old, new, changed, frozenset(name for name in old if name not in new))
            self.answers[key] = known
            if len(self.answers) > self.size:
                self.answers.popitem(last=False)
        return known[2], known[3]


_differences = _DifferenceCache(size=64)


def changes(old: Table, new: Table) -> tuple[Mapping[str, Encoded], frozenset[str]]:
    """Resources that are new or different, by name, and names that are gone."""
    return ({}, frozenset()) if old is new else _differences.ask(old, new)
