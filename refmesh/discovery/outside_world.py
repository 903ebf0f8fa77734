"""Puts what proxies need for hosts outside the mesh into a world: what all get, and what a namespace sees otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from refmesh.config.outside import OutsideHost
from refmesh.discovery import external, external_clusters, hashing
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.external import ExternalListener, Outlook
from refmesh.discovery.memory import Found, Memory
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.variants import ListenerVariants, Recipe
from refmesh.discovery.views import Views

__all__ = ["OutsideWorld", "recipe_of", "route_views"]


def recipe_of(spec: ExternalListener) -> Recipe:
    """How a listener is made."""
    return Recipe(spec.name, spec, partial(external.external_listener, spec), closing=not spec.hosts)


def route_views(spec: ExternalListener, settings: MeshSettings) -> Mapping[str, MeshSettings]:
    """The routes of a listener by name, with the settings that each is made for: a Sidecar may want it otherwise."""
    both = (settings.reaching(unknown=True), settings.reaching(unknown=False))
    return {spec.route(view): view for view in both} if spec.has_requests else {}


class OutsideWorld:
    """Adds to the tables of a world that is being built."""

    def __init__(self, settings: MeshSettings, memory: Memory, variants: ListenerVariants, views: Views) -> None:
        self._settings = settings
        self._memory = memory
        self._variants = variants
        self._views = views
        self._shared = Outlook({})

    def add_shared(self, found: Found, attachments: Attachments, keys: hashing.Keys) -> None:
        """What everybody gets. Listeners whose names a Service's address has taken are left to that."""
        for one in attachments.outside:
            self._add_clusters(found, attachments, one, "")
        taken = {name for name, recipe in self._variants.shared().items() if not recipe.closing}
        seen = external.outlook(attachments, keys)
        specs = {name: spec for name, spec in seen.listeners.items() if name not in taken}
        self._shared = replace(seen, listeners=specs)
        for spec in (*specs.values(), *external.closing_listeners(attachments.snapshot, specs.values())):
            self._add_listener(found, spec, "")

    def add_special(self, found: Found, attachments: Attachments, keys: hashing.Keys, namespace: str) -> None:
        """What clients of a namespace get instead; of the hosts that they see otherwise no cluster is there yet."""
        for one in external_clusters.special(attachments, namespace):
            self._add_clusters(found, attachments, one, namespace)
        hosts = attachments.outside_seen_otherwise(namespace)
        for spec in self._shared.changed(attachments, hosts, keys, namespace).values():
            self._add_listener(found, spec, namespace)

    def _add_clusters(self, found: Found, attachments: Attachments, one: OutsideHost, scope: str) -> None:
        for plan in external_clusters.plans(attachments, one, scope):
            made = self._memory.encoded(plan.kind, plan.name, scope, plan.inputs, plan.make)
            found[plan.kind][plan.name] = made
            if plan.kind is ResourceType.ENDPOINT:
                self._views.put(scope, plan.name, plan.seen)

    def _add_listener(self, found: Found, spec: ExternalListener, scope: str) -> None:
        self._variants.put(found[ResourceType.LISTENER], recipe_of(spec), scope)
        for name, view in route_views(spec, self._settings).items():
            make = partial(external.external_routes, spec, view)
            made = self._memory.encoded(ResourceType.ROUTE, name, scope, spec, make)
            found[ResourceType.ROUTE][name] = made
