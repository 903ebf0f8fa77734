"""What resources were made from, and what came of it: what did not change is neither built nor encoded again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from refmesh.discovery.overlay import Draft
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode

__all__ = ["Found", "Memory", "Tables"]

Tables = Mapping[ResourceType, Table]
Found = Mapping[ResourceType, MutableMapping[str, Encoded]]
"""Tables that are being made."""


@dataclass
class _Made:
    """What a resource was made from last time, and what came of it."""

    inputs: Any
    result: Encoded


class Memory:
    """Remembers resources by type, name and scope (who gets them), from one `begin` to the next."""

    def __init__(self) -> None:
        self._made: dict[tuple[ResourceType, str, str], _Made] = {}
        self._used: set[tuple[ResourceType, str, str]] = set()
        self._tables: dict[str, dict[ResourceType, Table]] = {}
        self._published: set[str] = set()

    def begin(self) -> None:
        """Start to note what is used."""
        self._used, self._published = set(), set()

    def encoded(self, kind: ResourceType, name: str, scope: str, inputs: Any, make: Callable[[], Any]) -> Encoded:
        """The resource that `make` makes of equal inputs; made and encoded only if these are new."""
        key = (kind, name, scope)
        self._used.add(key)
        known = self._made.get(key)
        if known is not None and known.inputs == inputs:
            return known.result
        result = encode(kind, name, make())
        if known is not None and known.result.version == result.version:
            result = known.result
        self._made[key] = _Made(inputs, result)
        return result

    def published(self, scope: str, found: Mapping[ResourceType, dict[str, Encoded]]) -> Tables:
        """Keep the table object of last time where its content is the same: comparing tables then costs nothing."""
        self._published.add(scope)
        tables = self._tables.setdefault(scope, {})
        for kind, table in found.items():
            if tables.get(kind) != table:
                tables[kind] = MappingProxyType(table)
        return MappingProxyType({kind: tables[kind] for kind in found})

    def laid(self, scope: str, found: Mapping[ResourceType, Draft]) -> Tables:
        """The same of tables that differ little from others: none is copied, and none is compared as a whole."""
        self._published.add(scope)
        tables = self._tables.setdefault(scope, {})
        for kind, draft in found.items():
            tables[kind] = draft.done(tables.get(kind))
        return MappingProxyType({kind: tables[kind] for kind in found})

    def forget_unused(self) -> None:
        """Drop what was not asked for since `begin`, and the tables of scopes that are none any more."""
        for key in self._made.keys() - self._used:
            del self._made[key]
        for scope in self._tables.keys() - self._published:
            del self._tables[scope]
