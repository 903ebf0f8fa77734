"""Routing by what is in a request: `VirtualService` by version, Gateway API's routes by service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import header_edit
from conformance.intents import BackendGrant, Redirect, RequestMatch, RequestRoute, RouteRule

from .base import duration, render
from .resilience import retries
from .traffic import destination, destination_rule, marked, virtual_service


@render.register
def _(intent: RequestRoute) -> Rendered | Unsupported:
    if intent.by == "service":
        return gateway_api_words.render(intent)
    if lacking := _lacking(intent):
        return Unsupported(f"VirtualService has no {lacking}")
    routes = [*marked(intent.service, intent.marker)]
    backends = [intent.marker.backend] if intent.marker else []
    for rule in intent.rules:
        routes.extend(_routes(intent.service, rule))
        backends.extend(one.backend for one in rule.targets)
        backends.extend([rule.mirror.backend] if rule.mirror else [])
    subsets = destination_rule(intent.namespace, intent.service, backends, {})
    return Rendered(objects=(subsets, virtual_service(intent.namespace, intent.service, routes)))


@render.register
def _(intent: BackendGrant) -> Rendered | Unsupported:
    return gateway_api_words.render(intent)


def _lacking(intent: RequestRoute) -> str:
    """What the kind has no field for; "" if it has all."""
    if intent.parent_namespace:
        return "routes that only their own namespace's clients follow, but by visibility"
    for rule in intent.rules:
        if rule.unknown_filter:
            return "filters of other kinds"
        if rule.redirect and rule.redirect.prefix:
            return "redirect of a prefix before Istio 1.31"
        if any(one.namespace for one in rule.targets):
            return "versions of one service in two namespaces"
        if rule.rewrite and rule.rewrite.path and not all(match.path for match in rule.matches):
            return "rewrite of the whole path but for exact matches"
    return ""


def _routes(service: str, rule: RouteRule) -> Iterator[dict[str, Any]]:
    """One rule as one route; as two where it rewrites a prefix, which Istio replaces as text and not by segments."""
    rewrite = rule.rewrite
    host = {"authority": rewrite.host} if rewrite and rewrite.host else {}
    if rewrite is None or not rewrite.prefix:
        matches = [match for one in rule.matches for match in _matches(one)]
        yield _route(service, rule, matches, host | ({"uri": rewrite.path} if rewrite and rewrite.path else {}))
        return
    found = [match for one in rule.matches or (RequestMatch(),) for match in _matches(one)]
    whole = [match for match in found if "prefix" not in match.get("uri", {})]
    below = [match for match in found if "prefix" in match.get("uri", {})]
    for matches, uri in ((whole, rewrite.prefix), (below, rewrite.prefix.rstrip("/") + "/")):
        if matches:
            yield _route(service, rule, matches, {"uri": uri, **host})


def _route(service: str, rule: RouteRule, matches: list[dict[str, Any]], rewrite: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"match": matches} if matches else {}
    edits = {"request": rule.request_headers, "response": rule.response_headers}
    if headers := {key: made for key, edit in edits.items() if edit is not None and (made := header_edit(edit))}:
        found["headers"] = headers
    if rewrite:
        found["rewrite"] = rewrite
    if rule.timeout:
        found["timeout"] = duration(rule.timeout)
    if rule.retry:
        found["retries"] = retries(rule.retry)
    if rule.fault:
        found["fault"] = _fault(rule)
    if rule.mirror:
        found["mirror"] = destination(service, rule.mirror.backend)
        found["mirrorPercentage"] = {"value": float(rule.mirror.percent)}
    if rule.redirect:
        return {**found, "redirect": _redirect(rule.redirect)}
    shares = [{"destination": destination(service, one.backend), "weight": one.weight} for one in rule.targets]
    if len(shares) == 1:
        del shares[0]["weight"]
    return {**found, "route": shares}


def _matches(match: RequestMatch) -> list[dict[str, Any]]:
    """One match; two where it is by prefix: Istio's prefixes are text, and must not end within a segment."""
    rest: dict[str, Any] = {}
    if match.method:
        rest["method"] = {"exact": match.method}
    if match.headers:
        rest["headers"] = {name: {"exact": value} for name, value in match.headers}
    if match.query:
        rest["queryParams"] = {name: {"exact": value} for name, value in match.query}
    if match.path:
        return [{"uri": {"exact": match.path}, **rest}]
    if match.prefix.rstrip("/"):
        prefix = match.prefix.rstrip("/")
        return [{"uri": {"exact": prefix}, **rest}, {"uri": {"prefix": f"{prefix}/"}, **rest}]
    return [rest or {"uri": {"prefix": "/"}}]


def _redirect(redirect: Redirect) -> dict[str, Any]:
    given = {"scheme": redirect.scheme, "authority": redirect.host, "uri": redirect.path, "port": redirect.port}
    return {"redirectCode": redirect.status, **{key: value for key, value in given.items() if value}}


def _fault(rule: RouteRule) -> dict[str, Any]:
    fault, found = rule.fault, dict[str, Any]()
    if fault and fault.delay:
        found["delay"] = {"fixedDelay": duration(fault.delay), "percentage": {"value": fault.delay_percent}}
    if fault and fault.abort_status:
        found["abort"] = {"httpStatus": fault.abort_status, "percentage": {"value": fault.abort_percent}}
    return found
