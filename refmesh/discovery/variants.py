"""Outbound listeners for pods of which something else is observed than of most.

Most proxies share their outbound listeners. Where a Telemetry wants more or less of some, those share another set,
made from the same inputs once a proxy needs it, and kept from world to world as far as nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from refmesh.config.model import Pod, Snapshot
from refmesh.discovery.observation import Observation, TelemetryPolicies
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode
from refmesh.discovery.settings import MeshSettings

__all__ = ["ListenerVariants", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """A listener that is to be made: of these inputs, for settings that differ in what is observed."""

    name: str
    inputs: Any
    make: Callable[[MeshSettings], Any]


@dataclass(frozen=True)
class _Set:
    """The listeners of one observation, and what each was made from."""

    inputs: Mapping[str, Any]
    table: Table


_NOTHING = _Set({}, {})


class ListenerVariants:
    """Collects recipes while a world is built, and cooks them for whoever needs another set."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._recipes: dict[str, Recipe] = {}
        self._sets: dict[Observation, _Set] = {}

    def begin(self) -> None:
        """A new world is being built."""
        self._recipes = {}

    def add(self, recipe: Recipe) -> None:
        """A listener of the new world."""
        self._recipes[recipe.name] = recipe

    def finder(self, snapshot: Snapshot, telemetry: TelemetryPolicies) -> Callable[[Pod], Table | None]:
        """The outbound listeners of a pod of the new world; None where it shares those of most."""
        recipes, before = self._recipes, self._sets
        sets = self._sets = {}

        def outbound_of(pod: Pod) -> Table | None:
            if not snapshot.telemetries:
                return None
            observed = telemetry.client(pod, snapshot)
            if observed == self._settings.observation:
                return None
            if observed not in sets:
                sets[observed] = self._made(observed, recipes, before.get(observed, _NOTHING))
            return sets[observed].table

        return outbound_of

    def _made(self, observed: Observation, recipes: Mapping[str, Recipe], before: _Set) -> _Set:
        settings = self._settings.observing(observed)
        table: dict[str, Encoded] = {}
        for name, recipe in recipes.items():
            known = before.table.get(name)
            same = known is not None and before.inputs[name] == recipe.inputs
            table[name] = (
                known if same and known is not None else encode(ResourceType.LISTENER, name, recipe.make(settings))
            )
        inputs = {name: recipe.inputs for name, recipe in recipes.items()}
        # The same object where its content is the same: comparing tables then costs nothing.
        return _Set(inputs, before.table if before.table == table else MappingProxyType(table))
