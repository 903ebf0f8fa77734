"""Routes that are known ahead of the subsets and Services that they name, and Gateways ahead of Secrets.

Pure but for the clock.

The API server tells of each kind of object on a watch of its own, and one may overtake the other: a VirtualService that
was written after its DestinationRule may be known before it, an HTTPRoute before its Service. In force at once, it
would send requests to a cluster that no proxy has. So it waits for a moment, as it was before.

Secrets are read once a Gateway names them. Without its certificate a port is closed, and connections with it: a Gateway
that names another one keeps the one that it had until that is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from refmesh.api.gateway import Gateway
from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.hostnames import covers
from refmesh.api.istio_gateway import IstioGateway
from refmesh.api.routing import Destination
from refmesh.api.virtual_service import VirtualService
from refmesh.config.certificates import READING_SECONDS
from refmesh.config.classic_servers import secrets_of
from refmesh.config.model import Key, Snapshot
from refmesh.config.references import service_of

__all__ = ["LONGEST_SECONDS", "Forerunners"]

LONGEST_SECONDS = 1.0
"""How long one waits for what it names. Watches are late by a tenth of that, on a busy machine; who names what nobody
ever writes is answered 503 or 500, as Istio and Gateway API have it, from then on."""

_ROUTES = ("virtual_services", "http_routes", "grpc_routes", "tls_routes", "tcp_routes")
_LONGEST = dict.fromkeys(_ROUTES, LONGEST_SECONDS) | dict.fromkeys(("gateways", "istio_gateways"), READING_SECONDS)
"""The tables of a snapshot that hold what may wait, and how long one does at most."""


class Forerunners:
    """Holds them back, from snapshot to snapshot."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: Mapping[str, Mapping[Key, Any]] | None = None
        """The tables as they were written, at the last snapshot; None before the first."""
        self._in_force: Mapping[str, Mapping[Key, Any]] = {}
        """As they were let through."""
        self._ends: dict[tuple[str, Key], float] = {}
        """When each that waits is let through whatever is there, by its table and key."""

    def held_back(self, snapshot: Snapshot, secrets: AbstractSet[Key] = frozenset()) -> Snapshot:
        """The snapshot with those that wait as they were before. Call it with every snapshot, in order.

        The first one is complete: every kind was listed for it. `secrets`: those that are being read.
        """
        now, last = self._clock(), self._written
        written = {table: getattr(snapshot, table) for table in _LONGEST}
        asked = set(self._ends)
        if last is not None:
            asked |= {(table, key) for table in _LONGEST for key in _changed(written[table], last[table])}
        named = _Named(snapshot, secrets - snapshot.certificates.keys())
        ends = {
            (table, key): self._ends.get((table, key), now + _LONGEST[table])
            for table, key in asked
            if named.lacking(written[table].get(key))
        }
        self._ends = {key: end for key, end in ends.items() if end > now}
        before, self._written = self._in_force, written
        self._in_force = {table: self._let_through(table, written[table], before.get(table, {})) for table in _LONGEST}
        other: dict[str, Any] = {table: items for table, items in self._in_force.items() if items is not written[table]}
        return replace(snapshot, **other) if other else snapshot

    def _let_through(self, table: str, written: Mapping[Key, Any], before: Mapping[Key, Any]) -> Mapping[Key, Any]:
        """A table with those that wait as they were."""
        waiting = {key: before.get(key) for of, key in self._ends if of == table}
        if not waiting:
            return written
        found = {key: item for key, now_or_before in written.items() if (item := waiting.get(key, now_or_before))}
        # Whoever wants to know whether a table has changed asks whether it is another one.
        return before if before == found else MappingProxyType(found)

    @property
    def seconds_left(self) -> float | None:
        """How long until one is let through at the latest; None while none waits."""
        return max(0.0, min(self._ends.values()) - self._clock()) if self._ends else None


def _changed(written: Mapping[Key, Any], last: Mapping[Key, Any]) -> Iterator[Key]:
    """The keys of the items that are new or others. A table that did not change is the same one."""
    if written is not last:
        yield from (key for key, item in written.items() if item is not last.get(key))


@dataclass(frozen=True)
class _Named:
    """What routes and Gateways may name. `unread`: Secrets that are being read."""

    snapshot: Snapshot
    unread: AbstractSet[Key]

    def lacking(self, item: VirtualService | GatewayRoute | Gateway | IstioGateway | None) -> bool:
        """Whether it names what there is not."""
        if isinstance(item, Gateway):
            listed = (one for listener in item.listeners for one in listener.certificates)
            return any((one.namespace, one.name) in self.unread for one in listed)
        if isinstance(item, IstioGateway):
            # Wherever its workloads are.
            names = {name for _, name in self.unread}
            return any(not names.isdisjoint(secrets_of(server)) for server in item.servers)
        if isinstance(item, VirtualService):
            named = {(one.host, one.subset) for one in _destinations(item) if one.subset}
            return not all(self._subset(*one) for one in named)
        return item is not None and not all(map(self._service, _backends(item)))

    @cached_property
    def _subsets(self) -> Mapping[str, set[str]]:
        """The subsets of every host and wildcard, whoever their DestinationRule is for."""
        found: dict[str, set[str]] = {}
        for rule in self.snapshot.destination_rules.values():
            found.setdefault(rule.host, set()).update(one.name for one in rule.subsets)
        return found

    def _subset(self, host: str, subset: str) -> bool:
        known = self._subsets
        return subset in known.get(host, ()) or any(
            covers(wider, host) and subset in known[wider] for wider in known if wider.startswith("*")
        )

    def _service(self, one: Destination) -> bool:
        return service_of(one.host) in self.snapshot.services


def _destinations(item: VirtualService) -> Iterator[Destination]:
    for rule in item.rules:
        yield from rule.destinations
    for stream in item.streams:
        yield from stream.destinations


def _backends(item: GatewayRoute) -> Iterator[Destination]:
    """Those that may be right: what can be right in no cluster waits for nothing."""
    for rule in item.rules:
        yield from (one for one in rule.destinations if not one.invalid)
