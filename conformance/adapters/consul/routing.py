"""Routing: `ServiceRouter` and `ServiceSplitter`. Backends are services."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import cannot, duration, header_edit, nameless
from conformance.intents import (
    Backend,
    BackendGrant,
    Marker,
    RequestMatch,
    RequestRoute,
    RouteRule,
    RouteTimeout,
    Target,
    WeightedRoute,
)

from .base import ConsulSettings, entry, render, spoken

__all__ = ["marked_router"]

cannot(render, "configuration entries may name any service: nothing needs to be granted", BackendGrant)

LACKING = {"redirect": "redirects", "mirror": "mirrors", "fault": "faults", "unknown_filter": "filters of other kinds"}


@render.register
def _(intent: WeightedRoute, settings: ConsulSettings) -> Rendered | Unsupported:
    backends = [one for one, _ in intent.weights]
    marked = [intent.marker.backend] if intent.marker else []
    if refused := nameless(*backends, *marked):
        return refused
    if intent.protocol == "grpc":
        return Unsupported("a service speaks one protocol on all ports, and the suite's speak HTTP")
    whole = sum(weight for _, weight in intent.weights)
    # Consul's weights are percentages of two decimals that add up to 100.
    shares = [round(100 * weight / whole, 2) for _, weight in intent.weights]
    if round(sum(shares), 2) != 100:
        return Unsupported("weights are percentages of two decimals, and these do not add up to 100")
    splits = [{"service": one.service, "weight": share} for one, share in zip(backends, shares, strict=True)]
    names = [intent.service, *(one.service for one in (*backends, *marked))]
    splitter = entry("ServiceSplitter", intent.service, intent.namespace, {"splits": splits})
    router = marked_router(intent.namespace, intent.service, intent.marker)
    return Rendered(objects=(*spoken(intent.namespace, *names), splitter, *router))


@render.register
def _(intent: RequestRoute, settings: ConsulSettings) -> Rendered | Unsupported:
    marked = [intent.marker.backend] if intent.marker else []
    backends = [one.backend for rule in intent.rules for one in rule.targets] + marked
    if problem := _lacking(intent):
        return Unsupported(problem)
    if refused := nameless(*backends):
        return refused
    routes = _marked(intent.marker)
    routes += [one for rule in intent.rules for one in _routes(rule)]
    router = entry("ServiceRouter", intent.service, intent.namespace, {"routes": routes})
    speaking = spoken(intent.namespace, intent.service, *(one.service for one in backends))
    return Rendered(objects=(*speaking, router))


@render.register
def _(intent: RouteTimeout, settings: ConsulSettings) -> Rendered | Unsupported:
    itself = RouteRule((Target(Backend(intent.service, service=intent.service)),), timeout=intent.seconds)
    return render(RequestRoute(intent.namespace, intent.service, intent.port, (itself,)), settings)


def _lacking(intent: RequestRoute) -> str:
    """What a router has no words for; "" if it has them all."""
    if intent.protocol == "grpc":
        return "a service speaks one protocol on all ports, and the suite's speak HTTP"
    if intent.parent_namespace:
        return "a service has one router, for all of its clients"
    for rule in intent.rules:
        for field, what in LACKING.items():
            if getattr(rule, field):
                return f"a router has no {what}"
        if len(rule.targets) != 1:
            return "a router's route goes to one service"
        if rule.targets[0].namespace:
            return "services of several namespaces are one to Consul, or need its Enterprise edition"
        if rule.rewrite and (rule.rewrite.host or rule.rewrite.path):
            return "a router rewrites prefixes only"
        if rule.retry and rule.retry.per_try:
            return "a router has no limit for a single try"
    return ""


def _routes(rule: RouteRule) -> list[dict[str, Any]]:
    """A rule: one route for each of its matches, and a pair where a prefix must end with a segment."""
    found = [one for match in rule.matches or (RequestMatch(),) for one in _matches(match)]
    return [{"match": {"http": one}, "destination": _destination(rule, one.get("pathPrefix", ""))} for one in found]


def _matches(match: RequestMatch) -> list[dict[str, Any]]:
    """One match; two where it is by prefix: Consul's prefixes are text, and must not end within a segment."""
    rest: dict[str, Any] = {}
    if match.method:
        rest["methods"] = [match.method]
    if match.headers:
        rest["header"] = [{"name": name, "exact": value} for name, value in match.headers]
    if match.query:
        rest["queryParam"] = [{"name": name, "exact": value} for name, value in match.query]
    if match.path:
        return [{"pathExact": match.path, **rest}]
    prefix = match.prefix.rstrip("/")
    if not prefix:
        return [{"pathPrefix": "/", **rest}]
    return [{"pathExact": prefix, **rest}, {"pathPrefix": f"{prefix}/", **rest}]


def _destination(rule: RouteRule, prefix: str) -> dict[str, Any]:
    """Where a route goes. What is put in the place of a matched prefix must end with a slash if that does."""
    found: dict[str, Any] = {"service": rule.targets[0].backend.service}
    if rule.rewrite:
        stem = rule.rewrite.prefix.rstrip("/")
        found["prefixRewrite"] = f"{stem}/" if prefix.endswith("/") or not stem else stem
    if rule.timeout:
        found["requestTimeout"] = duration(rule.timeout)
    if rule.retry:
        found["numRetries"] = rule.retry.attempts
        found["retryOnStatusCodes"] = list(rule.retry.codes)
    for key, edit in (("requestHeaders", rule.request_headers), ("responseHeaders", rule.response_headers)):
        if edit:
            found[key] = header_edit(edit)
    return found


def _marked(marker: Marker | None) -> list[dict[str, Any]]:
    """Requests with the mark go to its backend."""
    if marker is None:
        return []
    match = {"http": {"header": [{"name": marker.header, "exact": marker.value}]}}
    return [{"match": match, "destination": {"service": marker.backend.service}}]


def marked_router(namespace: str, service: str, marker: Marker | None) -> list[Manifest]:
    """The router that shows a mark, and leaves everything else as the service itself says."""
    return [entry("ServiceRouter", service, namespace, {"routes": _marked(marker)})] if marker else []
