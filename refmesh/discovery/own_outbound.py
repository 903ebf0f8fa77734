"""Listeners and routes for single proxies: where a VirtualService tells clients apart by their pods' labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from refmesh.config.model import Pod, Protocol
from refmesh.discovery import external, hashing, names, routes, service_listeners
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.outside_world import recipe_of, route_views
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode
from refmesh.discovery.settings import MeshSettings

__all__ = ["OwnOutbound"]

_MOST = 1000
_Made = tuple[ResourceType, str, Any, Callable[[], Any]]
"""Type, name, all that it is made from, and how."""


class OwnOutbound:
    """Makes them, and remembers: pods with the same labels share them."""

    def __init__(self, settings: MeshSettings) -> None:
        self._domain = settings.domain
        self._known: dict[tuple[ResourceType, str, Any], Encoded] = {}

    def of(self, attachments: Attachments, pod: Pod, settings: MeshSettings) -> Mapping[ResourceType, Table]:
        """What stands in front of the shared ones of its name, for this pod, whose listeners have these settings."""
        found: dict[ResourceType, dict[str, Encoded]] = {}
        keys = hashing.keys(attachments, pod.namespace)
        for kind, name, inputs, make in (
            *self._of_services(attachments, pod, settings, keys),
            *self._of_hosts_outside(attachments, pod, settings, keys),
        ):
            found.setdefault(kind, {})[name] = self._encoded(kind, name, inputs, make)
        return found

    def _of_services(
        self, attachments: Attachments, pod: Pod, settings: MeshSettings, keys: hashing.Keys
    ) -> Iterator[_Made]:
        for service in attachments.by_client:
            for port in service.ports:
                rules = attachments.rules(service, port, pod.namespace, pod.labels)
                if port.protocol is not Protocol.TCP and rules != attachments.rules(service, port, pod.namespace):
                    spec = routes.RouteSpec(service.host(self._domain), port.port, rules)
                    make = partial(hashing.hashed_routes, spec, keys)
                    yield ResourceType.ROUTE, names.route_name(spec.host, spec.port), (spec, keys), make
                others = service_listeners.recipes(attachments, service, port, pod.namespace)
                own = service_listeners.recipes(attachments, service, port, pod.namespace, pod.labels)
                for recipe, other in zip(own, others, strict=True):
                    if recipe.inputs != other.inputs:
                        yield (
                            ResourceType.LISTENER,
                            recipe.name,
                            (recipe.inputs, settings),
                            partial(recipe.make, settings),
                        )

    @staticmethod
    def _of_hosts_outside(
        attachments: Attachments, pod: Pod, settings: MeshSettings, keys: hashing.Keys
    ) -> Iterator[_Made]:
        if not attachments.outside_by_client:
            return
        others = external.listeners(attachments, keys, pod.namespace)
        for name, spec in external.listeners(attachments, keys, pod.namespace, pod.labels).items():
            if spec != others[name]:
                recipe = recipe_of(spec)
                yield ResourceType.LISTENER, name, (spec, settings), partial(recipe.make, settings)
                for route, view in route_views(spec, settings).items():
                    yield ResourceType.ROUTE, route, (spec, view), partial(external.external_routes, spec, view)

    def _encoded(self, kind: ResourceType, name: str, inputs: Any, make: Callable[[], Any]) -> Encoded:
        known = self._known.get((kind, name, inputs))
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[kind, name, inputs] = encode(kind, name, make())
        return known
