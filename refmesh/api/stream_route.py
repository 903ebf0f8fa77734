"""TLSRoute and TCPRoute of Gateway API: connections that are not looked into, at a Gateway.

Their parents are Gateways. Services as parents are no part of the standard channel for these kinds, and refmesh says in
their status that it does not route by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.gateway_route import GatewayRoute, backends, gateway_parents, hostnames
from refmesh.api.meta import Meta
from refmesh.api.routing import Rule

__all__ = ["TCPRoute", "TLSRoute"]


@dataclass(frozen=True)
class TLSRoute(GatewayRoute):
    """Where connections for an SNI go, as they come."""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> TLSRoute:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "TLSRoute")
        spec = Field(obj, "").get("spec").only("parentRefs", "hostnames", "rules", "useDefaultGateways")
        gateways = gateway_parents(spec, meta)
        names = hostnames(spec) if gateways else ()
        if gateways and not names:
            raise Invalid("spec.hostnames", "is required: the names that clients ask for in TLS")
        return cls(meta, (), _rules(spec, meta, domain) if gateways else (), gateways, names)


@dataclass(frozen=True)
class TCPRoute(GatewayRoute):
    """Where the connections to a port go."""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> TCPRoute:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "TCPRoute")
        spec = Field(obj, "").get("spec").only("parentRefs", "rules", "useDefaultGateways")
        gateways = gateway_parents(spec, meta)
        return cls(meta, (), _rules(spec, meta, domain) if gateways else (), gateways)


def _rules(spec: Field, meta: Meta, domain: str) -> tuple[Rule, ...]:
    items = spec.get("rules").each()
    if len(items) != 1:
        raise Invalid("spec.rules", "must have exactly one entry: nothing tells connections apart")
    rule = items[0].only("name", "backendRefs")
    entries = rule.get("backendRefs")
    for item in entries.each():
        item.only("group", "kind", "namespace", "name", "port", "weight")
    if not entries.each():
        raise Invalid(entries.path, "needs at least one entry")
    return (Rule(name=rule.get("name").text(""), destinations=backends(entries, meta, domain)),)
