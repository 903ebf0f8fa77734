"""`HTTPRoute` and `GRPCRoute` whose parent is a Service, and `ReferenceGrant`."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import manifest, nameless
from conformance.intents import (
    Backend,
    BackendGrant,
    EachRequest,
    Marker,
    RequestMatch,
    RequestRoute,
    RouteRule,
    WeightedRoute,
)

from .base import GROUP, backend_ref, parent_ref, render, route
from .filters import exact, filters
from .resilience import patience

_KINDS = {"http": "HTTPRoute", "grpc": "GRPCRoute"}


@render.register
def _(intent: WeightedRoute) -> Rendered | Unsupported:
    if refused := nameless(*(backend for backend, _ in intent.weights), *_of(intent.marker)):
        return refused
    rules = _marked(intent.marker, intent.port)
    rules.append({"backendRefs": [backend_ref(backend, intent.port, weight) for backend, weight in intent.weights]})
    parent = parent_ref(intent.service, intent.port)
    return Rendered(objects=(route(_KINDS[intent.protocol], intent.service, intent.namespace, parent, rules),))


@render.register
def _(intent: EachRequest) -> Rendered | Unsupported:
    """A route that changes nothing: whoever follows it handles requests."""
    itself = backend_ref(Backend(intent.service, service=intent.service), intent.port)
    parent = parent_ref(intent.service, intent.port)
    return Rendered(
        objects=(route("HTTPRoute", intent.service, intent.namespace, parent, [{"backendRefs": [itself]}]),)
    )


@render.register
def _(intent: RequestRoute) -> Rendered | Unsupported:
    if lacking := _lacking(intent):
        return Unsupported(f"{_KINDS[intent.protocol]} has no {lacking}")
    mirrored = [rule.mirror.backend for rule in intent.rules if rule.mirror]
    targets = [one.backend for rule in intent.rules for one in rule.targets]
    if refused := nameless(*targets, *mirrored, *_of(intent.marker)):
        return refused
    make = _grpc_match if intent.protocol == "grpc" else _http_match
    rules = _marked(intent.marker, intent.port)
    for rule in intent.rules:
        matches = [make(match) for match in rule.matches]
        rules.append(({"matches": matches} if matches else {}) | _rule(rule, intent.port))
    parent = parent_ref(intent.service, intent.port, intent.parent_namespace)
    name = intent.name or intent.service
    return Rendered(objects=(route(_KINDS[intent.protocol], name, intent.namespace, parent, rules),))


@render.register
def _(intent: BackendGrant) -> Rendered | Unsupported:
    spec = {
        "from": [{"group": GROUP, "kind": kind, "namespace": intent.from_namespace} for kind in _KINDS.values()],
        "to": [{"group": "", "kind": "Service", "name": intent.service}],
    }
    # v1beta1 is served by every release that has the kind; v1 came with 1.5.
    grant = manifest(f"{GROUP}/v1beta1", "ReferenceGrant", intent.service, intent.namespace, spec)
    return Rendered(objects=(grant,))


def _lacking(intent: RequestRoute) -> str:
    """What the kind has no field for; "" if it has all."""
    for rule in intent.rules:
        if rule.fault is not None:
            return "faults"
        if intent.protocol == "http":
            continue
        if rule.rewrite or rule.redirect:
            return "rewrites and redirects"
        if rule.timeout or rule.retry:
            return "timeouts and retries"
        if any(match.prefix or match.method or match.query for match in rule.matches):
            return "matches of prefixes, HTTP methods and queries"
    return ""


def _of(marker: Marker | None) -> list[Backend]:
    return [marker.backend] if marker else []


def _marked(marker: Marker | None, port: int) -> list[dict[str, Any]]:
    """The rule that shows that this configuration is in force; first, so that it wins over rules alike."""
    if marker is None:
        return []
    match = {"headers": exact(((marker.header, marker.value),))}
    return [{"matches": [match], "backendRefs": [backend_ref(marker.backend, port, 1)]}]


def _rule(rule: RouteRule, port: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    mirror: dict[str, Any] | None = None
    if rule.mirror:
        mirror = {"backendRef": backend_ref(rule.mirror.backend, port)}
        mirror |= {"percent": rule.mirror.percent} if rule.mirror.percent != 100 else {}
    if applied := filters(rule, mirror):
        found["filters"] = applied
    if rule.targets:
        found["backendRefs"] = [backend_ref(one.backend, port, one.weight, one.namespace) for one in rule.targets]
    return found | patience(rule.timeout, rule.retry)


def _http_match(match: RequestMatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if match.path:
        found["path"] = {"type": "Exact", "value": match.path}
    elif match.prefix:
        found["path"] = {"type": "PathPrefix", "value": match.prefix}
    if match.method:
        found["method"] = match.method
    if match.headers:
        found["headers"] = exact(match.headers)
    if match.query:
        found["queryParams"] = exact(match.query)
    return found


def _grpc_match(match: RequestMatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if match.path:
        service, _, method = match.path.strip("/").partition("/")
        found["method"] = {"type": "Exact", "service": service} | ({"method": method} if method else {})
    if match.headers:
        found["headers"] = exact(match.headers)
    return found
