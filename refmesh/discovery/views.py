"""Endpoints for proxies that see some of them from elsewhere than others: one table for each viewpoint.

Most clusters look the same from everywhere, and everybody shares their endpoints. Of the others each viewpoint (a
locality, mostly a zone) has its own, made once a proxy of it asks, and kept from world to world as far as nothing
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from refmesh.config.model import Pod, Snapshot
from refmesh.discovery import locality
from refmesh.discovery.locality import NOWHERE, Plan, Viewpoint
from refmesh.discovery.memory import Tables
from refmesh.discovery.resource import ResourceType, Table
from refmesh.discovery.variants import NOTHING, Cooked, Recipe, cook

__all__ = ["Views"]


@dataclass(frozen=True)
class _View:
    """The endpoints of one viewpoint: what was made for it alone, and the whole table."""

    special: Cooked
    table: Table


_NONE = _View(NOTHING, {})


class Views:
    """Collects plans while a world is built, and makes tables for whoever sees them."""

    def __init__(self) -> None:
        self._recipes: dict[str, dict[str, Recipe]] = {}
        self._views: dict[tuple[str, Viewpoint], _View] = {}

    def begin(self, scope: str = "") -> None:
        """A new world is being built, or the part of a namespace with rules of its own: that of all, changed."""
        self._recipes = {**self._recipes, scope: dict(self._recipes[""])} if scope else {"": {}}

    def put(self, scope: str, cluster: str, plan: Plan | None) -> None:
        """How a cluster is seen in a scope; None: the same from everywhere."""
        self._recipes[scope].pop(cluster, None)
        if plan is not None:
            self._recipes[scope][cluster] = Recipe(cluster, plan, partial(locality.assignment, cluster, plan))

    def finder(
        self, snapshot: Snapshot, shared: Tables, by_namespace: Mapping[str, Tables]
    ) -> Callable[[Pod], Table | None]:
        """The endpoints as a pod's proxy sees them; None where it shares those of most."""
        recipes, before = self._recipes, self._views
        views = self._views = {}
        keys = {scope: _keys(plans) for scope, plans in recipes.items()}

        def endpoints_of(pod: Pod) -> Table | None:
            scope = pod.namespace if pod.namespace in recipes else ""
            if not recipes[scope]:
                return None
            view = locality.viewpoint(snapshot, pod, keys[scope])
            if view == NOWHERE:
                return None
            known = views.get((scope, view))
            if known is None:
                everybody = by_namespace.get(scope, shared)[ResourceType.ENDPOINT]
                known = _made(view, recipes[scope], everybody, before.get((scope, view), _NONE))
                views[scope, view] = known
            return known.table

        return endpoints_of


def _keys(recipes: Mapping[str, Recipe]) -> frozenset[str]:
    return frozenset[str]().union(*(recipe.inputs.keys for recipe in recipes.values()))


def _made(view: Viewpoint, recipes: Mapping[str, Recipe], everybody: Table, before: _View) -> _View:
    special = cook(ResourceType.ENDPOINT, recipes, view, before.special)
    table = {**everybody, **special.table}
    # The same object where its content is the same: comparing tables then costs nothing.
    return _View(special, before.table if before.table == table else MappingProxyType(table))
