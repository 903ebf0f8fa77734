"""Endpoints for proxies that see some of them from elsewhere than others: one table for each viewpoint.

Most clusters look the same from everywhere, and everybody shares their endpoints. Each other one is made once for all
who see it alike, as soon as a proxy of them asks, and kept from world to world as far as nothing changed. A viewpoint's
table lies over that of everybody and has nothing but these: a Service that counts every Node as a place of its own
multiplies its own endpoints, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from refmesh.config.model import Pod, Snapshot
from refmesh.discovery import locality
from refmesh.discovery.locality import NOWHERE, Plan, Viewpoint
from refmesh.discovery.memory import Tables
from refmesh.discovery.overlay import Overlay
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode

__all__ = ["Views"]


@dataclass(frozen=True)
class _Seen:
    """A cluster that is seen differently, and in whose scope that was said."""

    scope: str
    cluster: str
    plan: Plan


_Made = dict[tuple[str, str, Viewpoint], tuple[Plan, Encoded]]
"""By scope, cluster and what of a viewpoint counts for it: what the endpoints were made from, and what came of it."""
_Tables = dict[tuple[str, int, Viewpoint], Table]
"""By scope, layer and viewpoint."""


class Views:
    """Collects plans while a world is built, and makes tables for whoever sees them."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, _Seen]] = {}
        self._seen_before: dict[str, dict[str, _Seen]] = {}
        self._tables: _Tables = {}
        self._made: _Made = {}

    def begin(self, scope: str = "") -> None:
        """A new world is being built, or the part of a namespace with rules of its own: that of all, changed."""
        if scope:
            self._seen[scope] = dict(self._seen[""])
        else:
            self._seen_before, self._seen = self._seen, {"": {}}

    def put(self, scope: str, cluster: str, plan: Plan | None) -> None:
        """How a cluster is seen in a scope; None: the same from everywhere."""
        self._seen[scope].pop(cluster, None)
        if plan is not None:
            one, before = _Seen(scope, cluster, plan), self._seen_before.get(scope, {}).get(cluster)
            # The same object where its content is the same: its hosts are compared once, and not for every viewpoint.
            self._seen[scope][cluster] = before if before == one else one

    def finder(
        self, snapshot: Snapshot, shared: Tables, by_namespace: Mapping[str, Tables]
    ) -> Callable[[Pod], Table | None]:
        """The endpoints as a pod's proxy sees them; None where it shares those of most."""
        tables_before, made_before = self._tables, self._made
        tables: _Tables = {}
        made: _Made = {}
        self._tables, self._made = tables, made
        seen = {scope: _layers(clusters.values()) for scope, clusters in self._seen.items()}

        def encoded(one: _Seen, view: Viewpoint) -> Encoded:
            key = (one.scope, one.cluster, view)
            if key not in made:
                known, plan = made_before.get(key), one.plan.reached(view)
                if known is None or (known[0] is not plan and known[0] != plan):
                    message = locality.assignment(one.cluster, plan, view)
                    known = plan, encode(ResourceType.ENDPOINT, one.cluster, message)
                made[key] = known
            return made[key][1]

        def laid(below: Table, layer: _Layer, key: tuple[str, int, Viewpoint]) -> Table:
            if key not in tables:
                views = ((one, one.plan.reduced(key[2])) for one in layer.clusters)
                # From nowhere everybody's are made.
                over = {one.cluster: encoded(one, view) for one, view in views if view != NOWHERE}
                before = tables_before.get(key)
                if not over:
                    tables[key] = below
                elif isinstance(before, Overlay) and before.same(below, over):
                    tables[key] = before
                else:
                    tables[key] = Overlay(below, over)
            return tables[key]

        def endpoints_of(pod: Pod) -> Table | None:
            scope = pod.namespace if pod.namespace in seen else ""
            found = everybodys = by_namespace.get(scope, shared)[ResourceType.ENDPOINT]
            for number, layer in enumerate(seen[scope]):
                view = locality.viewpoint(snapshot, pod, layer.keys)
                if view != NOWHERE:
                    found = laid(found, layer, (scope, number, view))
            return None if found is everybodys else found

        return endpoints_of


@dataclass(frozen=True)
class _Layer:
    """Clusters whose endpoints are put over those of others in one step."""

    clusters: tuple[_Seen, ...]
    keys: frozenset[str]
    """The labels of a client that count for these, and for what lies below."""


def _layers(seen: Iterable[_Seen]) -> tuple[_Layer, ...]:
    """What is the same for a whole place lies below: a Service that counts Nodes does not multiply it by them."""
    clusters = tuple(seen)
    keys, found = frozenset[str](), list[_Layer]()
    for within in (False, True):
        here = tuple(one for one in clusters if one.plan.within_places is within)
        keys = keys.union(*(one.plan.keys for one in here))
        if here:
            found.append(_Layer(here, keys))
    return tuple(found)
