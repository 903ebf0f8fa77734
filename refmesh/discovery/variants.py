"""Outbound listeners for pods of which something else is observed than of most, or which may call others.

Most proxies share their outbound listeners. Where a Telemetry or a Sidecar wants it otherwise for some, those share
another set, made from the same inputs once a proxy needs it, and kept from world to world as far as nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from refmesh.api.sidecar import Sidecar
from refmesh.config.model import Pod, Snapshot
from refmesh.discovery.memory import Memory
from refmesh.discovery.observation import TelemetryPolicies
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode
from refmesh.discovery.scopes import Scopes
from refmesh.discovery.settings import MeshSettings

__all__ = ["ListenerVariants", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """A listener that is to be made: of these inputs, for settings that differ from proxy to proxy."""

    name: str
    inputs: Any
    make: Callable[[MeshSettings], Any]
    closing: bool = False
    """Needed by those only that may call nobody who is not registered."""

    def wanted(self, settings: MeshSettings) -> bool:
        """Whether proxies with these settings have it."""
        return not (self.closing and settings.allow_unknown)


@dataclass(frozen=True)
class _Cooked:
    """The listeners for proxies that are alike, and what each was made from."""

    inputs: Mapping[str, Any]
    table: Table


_NOTHING = _Cooked({}, {})


def _cook(recipes: Mapping[str, Recipe], settings: MeshSettings, before: _Cooked) -> _Cooked:
    """Make every recipe; what was made of equal inputs before stays."""
    table: dict[str, Encoded] = {}
    for name, recipe in recipes.items():
        known = before.table.get(name)
        same = known is not None and before.inputs[name] == recipe.inputs
        table[name] = (
            known if same and known is not None else encode(ResourceType.LISTENER, name, recipe.make(settings))
        )
    inputs = {name: recipe.inputs for name, recipe in recipes.items()}
    # The same object where its content is the same: comparing tables then costs nothing.
    return _Cooked(inputs, before.table if before.table == table else MappingProxyType(table))


class ListenerVariants:
    """Collects recipes while a world is built, and cooks them for whoever needs another set."""

    def __init__(self, settings: MeshSettings, memory: Memory) -> None:
        self._settings = settings
        self._memory = memory
        self._recipes: dict[str, dict[str, Recipe]] = {"": {}}
        self._sets: dict[tuple[MeshSettings, str], _Cooked] = {}

    def begin(self) -> None:
        """A new world is being built."""
        self._recipes = {"": {}}

    def put(self, table: MutableMapping[str, Encoded], recipe: Recipe, scope: str = "") -> None:
        """Put a listener of the new world into the table of most proxies; how it is made is kept for the others."""
        recipe = self._add(recipe, scope)
        if recipe.wanted(self._settings):
            make = partial(recipe.make, self._settings)
            table[recipe.name] = self._memory.encoded(ResourceType.LISTENER, recipe.name, scope, recipe.inputs, make)
        else:
            table.pop(recipe.name, None)

    def _add(self, recipe: Recipe, scope: str) -> Recipe:
        """A listener of the new world, for everybody or the clients of a namespace. Returns the one that is in force.

        Of two with a name the first counts, but one that is `closing` gives way to one that is not.
        """
        recipes = self._recipes.setdefault(scope, {})
        known = recipes.get(recipe.name)
        if known is None or (known.closing and not recipe.closing):
            known = recipes[recipe.name] = recipe
        return known

    def differs(self, recipe: Recipe) -> bool:
        """Whether everybody has another listener of the same kind by its name."""
        known = self._recipes[""].get(recipe.name)
        return known is not None and type(known.inputs) is type(recipe.inputs) and known.inputs != recipe.inputs

    def shared(self) -> Mapping[str, Recipe]:
        """What was added for everybody, by name."""
        return self._recipes[""]

    def finder(self, snapshot: Snapshot, telemetry: TelemetryPolicies) -> Callable[[Pod], Table | None]:
        """The outbound listeners of a pod of the new world; None where it shares those of most."""
        recipes, before = self._recipes, self._sets
        sets = self._sets = {}
        settings_of = self.settings_finder(snapshot, telemetry)

        def outbound_of(pod: Pod) -> Table | None:
            settings = settings_of(pod)
            if settings is self._settings:
                return None
            key = settings, pod.namespace if pod.namespace in recipes else ""
            if key not in sets:
                found = {**recipes[""], **recipes[key[1]]}
                wanted = {name: recipe for name, recipe in found.items() if recipe.wanted(settings)}
                sets[key] = _cook(wanted, settings, before.get(key, _NOTHING))
            return sets[key].table

        return outbound_of

    def settings_finder(self, snapshot: Snapshot, telemetry: TelemetryPolicies) -> Callable[[Pod], MeshSettings]:
        """What the outbound listeners of a pod are made for; the mesh's own object for most."""
        sidecars = Scopes.collect(snapshot.sidecars.values(), self._settings.root_namespace)

        def settings_of(pod: Pod) -> MeshSettings:
            settings = self._settings
            if snapshot.telemetries:
                settings = settings.observing(telemetry.client(pod, snapshot))
            if snapshot.sidecars:
                settings = settings.reaching(unknown=may_reach_unknown(sidecars.of(pod, snapshot), self._settings))
            return settings

        return settings_of


def may_reach_unknown(speaking: Sequence[Sidecar], settings: MeshSettings) -> bool:
    """Whether a pod may call hosts that nobody has registered, by the Sidecars that speak for it, the widest first.

    As in Istio they are not merged: the closest decides, and where it is silent what was chosen at install holds.
    """
    said = speaking[-1].allow_unknown if speaking else None
    return settings.allow_unknown if said is None else said
