"""VirtualServices that are known ahead of the subsets that they name. Pure but for the clock.

The API server tells of each kind of object on a watch of its own, and one may overtake the other: a VirtualService that
was written after its DestinationRule may be known before it. In force at once, it would send requests to a cluster that
no proxy has. So it waits for a moment, as it was before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from refmesh.api.hostnames import covers
from refmesh.api.routing import Destination
from refmesh.api.virtual_service import VirtualService
from refmesh.config.model import Key, Snapshot

__all__ = ["LONGEST_SECONDS", "Forerunners"]

LONGEST_SECONDS = 1.0
"""How long one waits for what it names. Watches are late by a tenth of that, on a busy machine; who names what nobody
ever writes is answered 503, as Istio has it, from then on."""


class Forerunners:
    """Holds them back, from snapshot to snapshot."""

    def __init__(self, seconds: float = LONGEST_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._written: Mapping[Key, VirtualService] | None = None
        """As they were written, at the last snapshot; None before the first."""
        self._in_force: Mapping[Key, VirtualService] = {}
        """As they were let through."""
        self._ends: dict[Key, float] = {}
        """When each that waits is let through whatever is there."""

    def held_back(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with those that wait as they were before. Call it with every snapshot, in order.

        The first one is complete: every kind was listed for it.
        """
        now, written, last = self._clock(), snapshot.virtual_services, self._written
        asked = set(self._ends)
        if last is not None and last is not written:
            asked |= {key for key, item in written.items() if item is not last.get(key)}
        known = _known(snapshot) if asked else {}
        ends = {key: self._ends.get(key, now + self._seconds) for key in asked if _lacks(known, written.get(key))}
        self._ends = {key: end for key, end in ends.items() if end > now}
        self._written, before = written, self._in_force
        if not self._ends:
            self._in_force = written
            return snapshot
        waiting = {key: before.get(key) for key in self._ends}
        found = {key: item for key, now_or_before in written.items() if (item := waiting.get(key, now_or_before))}
        # Whoever wants to know whether a table has changed asks whether it is another one.
        self._in_force = before if before == found else MappingProxyType(found)
        return replace(snapshot, virtual_services=self._in_force)

    @property
    def seconds_left(self) -> float | None:
        """How long until one is let through at the latest; None while none waits."""
        return max(0.0, min(self._ends.values()) - self._clock()) if self._ends else None


def _known(snapshot: Snapshot) -> dict[str, set[str]]:
    """The subsets of every host and wildcard, whoever their DestinationRule is for."""
    found: dict[str, set[str]] = {}
    for rule in snapshot.destination_rules.values():
        found.setdefault(rule.host, set()).update(one.name for one in rule.subsets)
    return found


def _lacks(known: Mapping[str, set[str]], item: VirtualService | None) -> bool:
    """Whether it names a subset that there is not."""
    named = {(one.host, one.subset) for one in _destinations(item) if one.subset} if item is not None else set()
    return any(
        subset not in known.get(host, ())
        and not any(covers(wider, host) and subset in known[wider] for wider in known if wider.startswith("*"))
        for host, subset in named
    )


def _destinations(item: VirtualService) -> Iterator[Destination]:
    for rule in item.rules:
        yield from rule.destinations
    for stream in item.streams:
        yield from stream.destinations
