"""HTTPRoute of Gateway API: routing between services, and at a Gateway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from refmesh.api.fields import MILLISECOND, Field, Invalid
from refmesh.api.gateway_route import (
    Filters,
    GatewayRoute,
    ParentService,
    backends,
    gateway_parents,
    hostnames,
    named_values,
    parents,
)
from refmesh.api.meta import Meta
from refmesh.api.routing import Match, Retry, Rule, TextMatch

__all__ = ["HTTPRoute", "ParentService"]

_PATHS = {"Exact": "exact", "PathPrefix": "segment-prefix", "RegularExpression": "regex"}
_EVERYTHING = Match(path=TextMatch("segment-prefix", "/"))
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")


@dataclass(frozen=True)
class HTTPRoute(GatewayRoute):
    """Rules for HTTP requests."""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> HTTPRoute:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "HTTPRoute")
        spec = Field(obj, "").get("spec").only("parentRefs", "hostnames", "rules", "useDefaultGateways")
        found, gateways = parents(spec, meta), gateway_parents(spec, meta)
        # Without rules the API server's default stands: everything goes to no backend, which is a 500.
        items = spec.get("rules").each()
        rules = tuple(_rule(item, meta, domain) for item in items) if found or gateways else ()
        return cls(meta, found, rules, gateways, hostnames(spec) if gateways else ())


def _rule(item: Field, meta: Meta, domain: str) -> Rule:
    item.only("name", "matches", "filters", "backendRefs", "timeouts", "retry")
    filters = Filters.read(item.get("filters"), meta, domain)
    timeouts = item.get("timeouts").only("request", "backendRequest")
    request, per_try = timeouts.get("request").duration(), timeouts.get("backendRequest").duration()
    destinations = backends(item.get("backendRefs"), meta, domain)
    if filters.redirect is not None and destinations:
        raise Invalid(f"{item.path}.backendRefs", "cannot stand beside a RequestRedirect")
    if request and per_try and per_try > request:
        raise Invalid(f"{item.path}.timeouts.backendRequest", "must not be longer than the request's timeout")
    return Rule(
        name=item.get("name").text(""),
        matches=tuple(_match(match) for match in item.get("matches").each()) or (_EVERYTHING,),
        destinations=destinations,
        # Without a retry there is one try, and its limit is the request's; 0 means none.
        timeout=request if request or item.get("retry").present else per_try,
        retry=_retry(item.get("retry"), per_try or None),
        request_headers=filters.request,
        response_headers=filters.response,
        redirect=filters.redirect,
        rewrite=filters.rewrite,
        mirrors=filters.mirrors,
        cors=filters.cors,
    )


def _match(item: Field) -> Match:
    item.only("path", "headers", "queryParams", "method")
    path = item.get("path").only("type", "value")
    kind = _PATHS[path.get("type").choice(*_PATHS, default="PathPrefix")]
    value = path.get("value").text("/")
    if kind == "regex":
        path.get("value").regex()
    elif not value.startswith("/"):
        raise Invalid(f"{path.path}.value", "must start with /")
    elif "?" in value or "#" in value:
        raise Invalid(f"{path.path}.value", "must be a path without query and fragment")
    method = item.get("method")
    return Match(
        path=TextMatch(kind, value),  # type: ignore[arg-type]
        method=TextMatch("exact", method.choice(*_METHODS)) if method.present else None,
        headers=named_values(item.get("headers"), header=True),
        query=named_values(item.get("queryParams"), header=False),
    )


def _retry(field: Field, per_try: timedelta | None) -> Retry | None:
    if not field.present:
        return None
    field.only("codes", "attempts", "backoff")
    codes = tuple(item.integer(low=400, high=599) for item in field.get("codes").each())
    backoff = field.get("backoff").duration(low=MILLISECOND)
    # A list of statuses comes on top of connection failures, as Gateway API describes retries.
    on = "connect-failure,refused-stream,reset-before-request" + (",retriable-status-codes" if codes else "")
    if per_try is not None and 504 in codes:
        on += ",reset"  # a try that ran out of time is reset, and would be a 504 to the caller
    return Retry(field.get("attempts").integer(1, high=1000), per_try, on, codes, backoff)
