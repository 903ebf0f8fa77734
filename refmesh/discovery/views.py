"""Endpoints for proxies that see some of them from elsewhere than others: one table for each viewpoint.

Most clusters look the same from everywhere, and everybody shares their endpoints. Each other one is made once for all
who see it alike, as soon as a proxy of them asks, and kept from world to world as far as nothing changed: a rule that
counts every Node as a place of its own multiplies its own cluster, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from refmesh.config.model import Pod, Snapshot
from refmesh.discovery import locality
from refmesh.discovery.locality import NOWHERE, Plan, Viewpoint
from refmesh.discovery.memory import Tables
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


class Views:
    """Collects plans while a world is built, and makes tables for whoever sees them."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, _Seen]] = {}
        self._tables: dict[tuple[str, Viewpoint], Table] = {}
        self._made: _Made = {}

    def begin(self, scope: str = "") -> None:
        """A new world is being built, or the part of a namespace with rules of its own: that of all, changed."""
        self._seen = {**self._seen, scope: dict(self._seen[""])} if scope else {"": {}}

    def put(self, scope: str, cluster: str, plan: Plan | None) -> None:
        """How a cluster is seen in a scope; None: the same from everywhere."""
        self._seen[scope].pop(cluster, None)
        if plan is not None:
            self._seen[scope][cluster] = _Seen(scope, cluster, plan)

    def finder(
        self, snapshot: Snapshot, shared: Tables, by_namespace: Mapping[str, Tables]
    ) -> Callable[[Pod], Table | None]:
        """The endpoints as a pod's proxy sees them; None where it shares those of most."""
        seen, tables_before, made_before = self._seen, self._tables, self._made
        tables: dict[tuple[str, Viewpoint], Table] = {}
        made: _Made = {}
        self._tables, self._made = tables, made
        keys = {scope: _keys(clusters) for scope, clusters in seen.items()}

        def encoded(one: _Seen, view: Viewpoint) -> Encoded:
            key = (one.scope, one.cluster, view)
            if key not in made:
                known = made_before.get(key)
                if known is None or known[0] != one.plan:
                    message = locality.assignment(one.cluster, one.plan, view)
                    known = one.plan, encode(ResourceType.ENDPOINT, one.cluster, message)
                made[key] = known
            return made[key][1]

        def endpoints_of(pod: Pod) -> Table | None:
            scope = pod.namespace if pod.namespace in seen else ""
            if not seen[scope]:
                return None
            view = locality.viewpoint(snapshot, pod, keys[scope])
            if view == NOWHERE:
                return None
            if (scope, view) not in tables:
                table = dict(by_namespace.get(scope, shared)[ResourceType.ENDPOINT])
                for cluster, one in seen[scope].items():
                    if (reduced := one.plan.reduced(view)) != NOWHERE:  # from there everybody's are made
                        table[cluster] = encoded(one, reduced)
                before = tables_before.get((scope, view))
                # The same object where its content is the same: comparing tables then costs nothing.
                tables[scope, view] = before if before is not None and before == table else MappingProxyType(table)
            return tables[scope, view]

        return endpoints_of


def _keys(seen: Mapping[str, _Seen]) -> frozenset[str]:
    return frozenset[str]().union(*(one.plan.keys for one in seen.values()))
