"""Route configurations for single proxies: where a VirtualService tells clients apart by their pods' labels."""

from __future__ import annotations

from types import MappingProxyType

from refmesh.config.model import Pod, Protocol
from refmesh.discovery import hashing, names, routes
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode
from refmesh.discovery.settings import MeshSettings

__all__ = ["OwnRoutes"]

_MOST = 1000


class OwnRoutes:
    """Makes them, and remembers: pods with the same labels share them."""

    def __init__(self, settings: MeshSettings) -> None:
        self._domain = settings.domain
        self._known: dict[tuple[routes.RouteSpec, hashing.Keys], Encoded] = {}

    def of(self, attachments: Attachments, pod: Pod) -> Table:
        """The configurations that stand in front of the shared ones of their name, for this pod."""
        found = {}
        keys = hashing.keys(attachments, pod.namespace) if attachments.by_client else ()
        for service in attachments.by_client:
            for port in service.ports:
                rules = attachments.rules(service, port, pod.namespace, pod.labels)
                if port.protocol is not Protocol.TCP and rules != attachments.rules(service, port, pod.namespace):
                    spec = routes.RouteSpec(service.host(self._domain), port.port, rules)
                    found[names.route_name(spec.host, spec.port)] = self._encoded(spec, keys)
        return MappingProxyType(found)

    def _encoded(self, spec: routes.RouteSpec, keys: hashing.Keys) -> Encoded:
        known = self._known.get((spec, keys))
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            name = names.route_name(spec.host, spec.port)
            known = encode(ResourceType.ROUTE, name, hashing.hashed_routes(spec, keys))
            self._known[spec, keys] = known
        return known
