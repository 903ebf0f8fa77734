"""Collects what the watches report and turns it into snapshots. No I/O: the watcher and the tests feed it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from refmesh.api.kinds import BY_NAME, KINDS, Kind, Policy, parse, stand_in
from refmesh.api.meta import Meta, Rejected
from refmesh.config import objects
from refmesh.config.model import Certificate, Key, Slice, Snapshot, key_of

__all__ = ["SOURCES", "Source", "Store", "table_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A kind of object to watch. `optional` kinds may not be served (yet), or in an older version alone."""

    name: str
    api_version: str
    plural: str
    optional: bool = False
    older: tuple[str, ...] = ()

    @property
    def api_versions(self) -> tuple[str, ...]:
        """Those that it can be read in; the first that is served is."""
        return (self.api_version, *self.older)


SOURCES: tuple[Source, ...] = (
    Source("Namespace", "v1", "namespaces"),
    Source("Service", "v1", "services"),
    Source("EndpointSlice", "discovery.k8s.io/v1", "endpointslices"),
    Source("Pod", "v1", "pods"),
    Source("Node", "v1", "nodes"),
    *(Source(kind.name, kind.api_version, kind.plural, optional=True, older=kind.api_versions[1:]) for kind in KINDS),
)

_FIELD_OF_POLICY = {
    "PeerAuthentication": "peer_authentications",
    "AuthorizationPolicy": "authorization_policies",
    "RequestAuthentication": "request_authentications",
    "VirtualService": "virtual_services",
    "DestinationRule": "destination_rules",
    "HTTPRoute": "http_routes",
    "GRPCRoute": "grpc_routes",
    "TLSRoute": "tls_routes",
    "TCPRoute": "tcp_routes",
    "ReferenceGrant": "reference_grants",
    "ServiceEntry": "service_entries",
    "IstioGateway": "istio_gateways",
    "GatewayClass": "gateway_classes",
    "Gateway": "gateways",
    "Telemetry": "telemetries",
    "Sidecar": "sidecars",
}
_WITH_STATUS = ("GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute")
_FIELD_OF_OBJECT = {"Service": "services", "Pod": "pods", "Node": "nodes", "Namespace": "namespaces"}


def table_of(snapshot: Snapshot, kind: str) -> Mapping[Key, Any]:
    """The objects of a kind that users write."""
    found: Mapping[Key, Any] = getattr(snapshot, _FIELD_OF_POLICY[kind])
    return found


class Store:
    """The newest known state of every object, parsed. Not thread-safe: it lives in one event loop."""

    def __init__(self, domain: str = "cluster.local") -> None:
        self._domain = domain
        self._readers: Mapping[str, Callable[[Any], Any]] = {
            "Service": objects.service,
            "Pod": objects.pod,
            "Node": objects.node,
        }
        self._tables: dict[str, dict[Any, Any]] = {
            name: {} for name in (*_FIELD_OF_OBJECT.values(), *_FIELD_OF_POLICY.values(), "rejected", "slices")
        }
        self._tables |= {"jwks": {}, "certificates": {}}
        self._slice_owner: dict[Key, str] = {}
        self._published: dict[str, Mapping[Any, Any]] = {}
        self._changed: set[str] = set(self._tables)
        self._version = 0
        self.raw: dict[tuple[str, Key], Any] = {}
        """What of Gateway API gets a status, by kind and key, as the API server sent it: what others wrote is kept."""
        self.raw_of_istio: dict[tuple[str, Key], Any] = {}
        """The same of Istio's kinds, without their specs."""

    def put(self, source: str, obj: Any) -> bool:
        """Take in an object that was added or changed. Says whether anything that matters did change."""
        key = key_of(obj)
        if source == "EndpointSlice":
            return self._put_slice(key, objects.slice_of(obj))
        if source in _FIELD_OF_POLICY:
            return self._put_policy(source, key, obj)
        if source == "Namespace":
            return self._set("namespaces", key[1], objects.labels_of(obj))
        return self._set(_FIELD_OF_OBJECT[source], key, self._readers[source](obj))

    def drop(self, source: str, key: Key) -> bool:
        """Forget an object that is gone. Says whether it was known."""
        if source == "EndpointSlice":
            return self._put_slice(key, None)
        if source in _FIELD_OF_POLICY:
            self.raw.pop((source, key), None)
            self.raw_of_istio.pop((source, key), None)
            gone = self._set("rejected", (source, *key), None)
            return self._set(_FIELD_OF_POLICY[source], key, None) or gone
        return self._set(_FIELD_OF_OBJECT[source], key[1] if source == "Namespace" else key, None)

    def keep(self, source: str, present: AbstractSet[Key]) -> bool:
        """Forget what a complete list did not have in it. Says whether there was any."""
        changed = False
        for key in self._known(source) - present:
            changed |= self.drop(source, key)
        return changed

    def put_keys(self, uri: str, keys: str | None) -> bool:
        """Take in the keys that an address of a token issuer gave; None forgets them. Says whether they changed."""
        return self._set("jwks", uri, keys)

    def put_certificate(self, key: Key, certificate: Certificate | None) -> bool:
        """Take in what a TLS Secret holds; None forgets it. Says whether it changed."""
        return self._set("certificates", key, certificate)

    def snapshot(self) -> Snapshot:
        """The state as an immutable snapshot; tables that did not change are shared with the one before."""
        for name in self._changed:
            self._published[name] = MappingProxyType(dict(self._tables[name]))
        if self._changed:
            self._version += 1
            self._changed.clear()
        return Snapshot(version=self._version, **self._published)

    def now(self, *tables: str) -> Snapshot:
        """Some tables at this moment, ahead of the next snapshot. Not to be kept: they go on changing."""
        held: dict[str, Any] = {name: MappingProxyType(self._tables[name]) for name in tables}
        return Snapshot(**held)

    # ------------------------------------------------------------------------------------------------------- internals
    def _set(self, table: str, key: Any, value: Any) -> bool:
        rows = self._tables[table]
        if value is None:
            if rows.pop(key, None) is None:
                return False
        elif rows.get(key) == value:
            return False
        else:
            rows[key] = value
        self._changed.add(table)
        return True

    def _put_policy(self, source: str, key: Key, obj: Any) -> bool:
        kind = BY_NAME[source]
        if source in _WITH_STATUS:
            self.raw[source, key] = obj
        elif kind.of_istio:
            self.raw_of_istio[source, key] = _for_status(obj)
        parsed = self._parse(kind, obj)
        good = stand_in(kind, obj, parsed.reason, self._domain) if isinstance(parsed, Rejected) else parsed
        bad = parsed if isinstance(parsed, Rejected) else None
        changed = self._set(_FIELD_OF_POLICY[source], key, good)
        return self._set("rejected", (source, *key), bad) or changed

    def _parse(self, kind: Kind, obj: Any) -> Policy | Rejected:
        """What `parse` says. Where it fails in a way nobody foresaw, the object is refused: a policy then closes."""
        try:
            return parse(kind, obj, self._domain)
        except Exception as error:
            log.exception("%s %s cannot be read", kind.name, key_of(obj))
            return Rejected(Meta.read(obj, kind.name), f"refmesh cannot read it: {type(error).__name__}")

    def _put_slice(self, key: Key, value: Slice | None) -> bool:
        changed = False
        owner = self._slice_owner.get(key)
        if owner is not None and (value is None or value.service != owner):
            rest = {name: item for name, item in self._slices_of(key[0], owner).items() if name != key[1]}
            changed = self._set("slices", (key[0], owner), MappingProxyType(rest) if rest else None)
            del self._slice_owner[key]
        if value is None:
            return changed
        self._slice_owner[key] = value.service
        slices = self._slices_of(key[0], value.service)
        value = renewed(slices.get(key[1]), value)
        if slices.get(key[1]) == value:
            return changed
        return self._set("slices", (key[0], value.service), MappingProxyType({**slices, key[1]: value}))

    def _slices_of(self, namespace: str, service: str) -> Mapping[str, Slice]:
        found: Mapping[str, Slice] = self._tables["slices"].get((namespace, service), {})
        return found

    def _known(self, source: str) -> set[Key]:
        if source == "EndpointSlice":
            return set(self._slice_owner)
        if source == "Namespace":
            return {("", name) for name in self._tables["namespaces"]}
        if source in _FIELD_OF_OBJECT:
            return set(self._tables[_FIELD_OF_OBJECT[source]])
        rejected = {(namespace, name) for kind, namespace, name in self._tables["rejected"] if kind == source}
        return set(self._tables[_FIELD_OF_POLICY[source]]) | rejected


def _for_status(obj: Any) -> dict[str, Any]:
    """What it takes to write an object's status."""
    metadata = obj.get("metadata") or {}
    kept = {name: metadata[name] for name in ("generation", "resourceVersion") if name in metadata}
    return {"apiVersion": obj.get("apiVersion"), "metadata": kept, "status": obj.get("status")}


def renewed(before: Slice | None, now: Slice) -> Slice:
    """What is known of a slice after the API server told its new content: that, and nothing of what was before."""
    _ = before
    return now
