"""GRPCRoute of Gateway API. A call is a request whose path is `/service/method`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.gateway_route import Filters, GatewayRoute, backends, gateway_parents, hostnames, named_values, parents
from refmesh.api.meta import Meta
from refmesh.api.routing import Match, Rule, TextMatch

__all__ = ["GRPCRoute"]

_SERVICE = re.compile(r"\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_ANY = "[^/]+"


@dataclass(frozen=True)
class GRPCRoute(GatewayRoute):
    """Rules for gRPC calls."""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> GRPCRoute:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "GRPCRoute")
        spec = Field(obj, "").get("spec").only("parentRefs", "hostnames", "rules", "useDefaultGateways")
        found, gateways = parents(spec, meta), gateway_parents(spec, meta)
        items = spec.get("rules").each()
        rules = tuple(_rule(item, meta, domain) for item in items) if found or gateways else ()
        return cls(meta, found, rules, gateways, hostnames(spec) if gateways else ())


def _rule(item: Field, meta: Meta, domain: str) -> Rule:
    item.only("name", "matches", "filters", "backendRefs")
    filters = Filters.read(item.get("filters"), meta, domain)
    for given, kind in ((filters.redirect, "RequestRedirect"), (filters.rewrite, "URLRewrite"), (filters.cors, "CORS")):
        if given is not None:
            raise Invalid(f"{item.path}.filters", f"{kind} is not a filter of a GRPCRoute")
    return Rule(
        name=item.get("name").text(""),
        matches=tuple(_match(match) for match in item.get("matches").each()),
        destinations=backends(item.get("backendRefs"), meta, domain),
        request_headers=filters.request,
        response_headers=filters.response,
        mirrors=filters.mirrors,
    )


def _match(item: Field) -> Match:
    item.only("method", "headers")
    return Match(path=_path(item.get("method")), headers=named_values(item.get("headers"), header=True))


def _path(field: Field) -> TextMatch | None:
    if not field.present:
        return None
    field.only("type", "service", "method")
    exact = field.get("type").choice("Exact", "RegularExpression", default="Exact") == "Exact"
    service, method = field.get("service"), field.get("method")
    if not service.text("") and not method.text(""):
        raise Invalid(field.path, "needs a service or a method")
    if not exact:
        texts = [part.regex() if part.text("") else _ANY for part in (service, method)]
        return TextMatch("regex", "/" + "/".join(f"(?:{text})" for text in texts))
    for part, pattern in ((service, _SERVICE), (method, _METHOD)):
        if part.text("") and not pattern.fullmatch(part.text()):
            raise Invalid(part.path, "is not a name that gRPC allows")
    if not method.text(""):
        return TextMatch("segment-prefix", f"/{service.text()}")
    if not service.text(""):
        return TextMatch("regex", f"/{_ANY}/{re.escape(method.text())}")
    return TextMatch("exact", f"/{service.text()}/{method.text()}")
