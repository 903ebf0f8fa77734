"""Listeners and routes for single proxies: where a VirtualService tells clients apart by their pods' labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from refmesh.config.model import Pod, Protocol
from refmesh.discovery import external, hashing, names, routes, service_listeners
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.external import ExternalListener, Outlook
from refmesh.discovery.outside_world import recipe_of, route_views
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode
from refmesh.discovery.settings import MeshSettings

__all__ = ["OwnOutbound"]

_MOST = 1000
_Made = tuple[ResourceType, str, Any, Callable[[], Any]]
"""Type, name, all that it is made from, and how."""


class _Outlooks:
    """What the clients of a world see of hosts outside, worked out once for those who see the same."""

    def __init__(self, attachments: Attachments) -> None:
        self.attachments = attachments
        self._asked = frozenset[str]().union(*attachments.outside_by_client.values())
        self._of_namespaces: dict[str, Outlook] = {}
        self._of_pods: dict[tuple[str, frozenset[tuple[str, str]]], Mapping[str, ExternalListener]] = {}

    def own(self, pod: Pod) -> Mapping[str, ExternalListener]:
        """The listeners that are others for a pod than for most of its namespace, by name."""
        labels = {name: value for name, value in pod.labels.items() if name in self._asked}
        key = pod.namespace, frozenset(labels.items())
        if key not in self._of_pods:
            seen, hosts = self._of_namespace(pod.namespace), self.attachments.outside_by_client
            self._of_pods[key] = seen.changed(self.attachments, hosts, seen.keys, pod.namespace, labels)
        return self._of_pods[key]

    def _of_namespace(self, namespace: str) -> Outlook:
        if namespace not in self._of_namespaces:
            keys = hashing.keys(self.attachments, namespace)
            if namespace:
                shared = self._of_namespace("")
                hosts = self.attachments.outside_seen_otherwise(namespace)
                changed = shared.changed(self.attachments, hosts, keys, namespace)
                found = Outlook({**shared.listeners, **changed}, keys)
            else:
                found = external.outlook(self.attachments, keys)
            self._of_namespaces[namespace] = found
        return self._of_namespaces[namespace]


class OwnOutbound:
    """Makes them, and remembers: pods with the same labels share them."""

    def __init__(self, settings: MeshSettings) -> None:
        self._domain = settings.domain
        self._outlooks: _Outlooks | None = None
        self._known: dict[tuple[ResourceType, str, Any], Encoded] = {}

    def of(self, attachments: Attachments, pod: Pod, settings: MeshSettings) -> Mapping[ResourceType, Table]:
        """What stands in front of the shared ones of its name, for this pod, whose listeners have these settings."""
        found: dict[ResourceType, dict[str, Encoded]] = {}
        keys = hashing.keys(attachments, pod.namespace)
        for kind, name, inputs, make in (
            *self._of_services(attachments, pod, settings, keys),
            *self._of_hosts_outside(attachments, pod, settings),
        ):
            found.setdefault(kind, {})[name] = self._encoded(kind, name, inputs, make)
        return found

    def _of_services(
        self, attachments: Attachments, pod: Pod, settings: MeshSettings, keys: hashing.Keys
    ) -> Iterator[_Made]:
        for service in (one for one in attachments.by_client if one.told(pod.namespace)):
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

    def _of_hosts_outside(self, attachments: Attachments, pod: Pod, settings: MeshSettings) -> Iterator[_Made]:
        if not attachments.outside_by_client:
            return
        if self._outlooks is None or self._outlooks.attachments is not attachments:
            self._outlooks = _Outlooks(attachments)
        for name, spec in self._outlooks.own(pod).items():
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
