"""Routing: `MeshHTTPRoute`, with `MeshTimeout` and `MeshRetry` beside it. Backends are services, not subsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.gateway_api_words.filters import exact, filters
from conformance.adapters.words import cannot, duration, nameless
from conformance.intents import (
    Backend,
    BackendGrant,
    Marker,
    NoRetries,
    RequestMatch,
    RequestRoute,
    Retry,
    RouteRule,
    RouteTimeout,
    Target,
    WeightedRoute,
)

from .base import KumaSettings, mesh_service, policy, render

__all__ = ["http_route", "to_service"]

cannot(render, "policies may name the services of any namespace: nothing needs to be granted", BackendGrant)


@render.register
def _(intent: WeightedRoute, settings: KumaSettings) -> Rendered | Unsupported:
    rule = RouteRule(tuple(Target(backend, weight) for backend, weight in intent.weights))
    return http_route(settings, intent.namespace, intent.service, intent.port, (rule,), intent.marker)


@render.register
def _(intent: RequestRoute, settings: KumaSettings) -> Rendered | Unsupported:
    for rule in intent.rules:
        if rule.fault or rule.unknown_filter:
            return Unsupported(f"a route has no {'faults' if rule.fault else 'filters of other kinds'}")
    if not any(not rule.matches or RequestMatch() in rule.matches for rule in intent.rules):
        return Unsupported("what no rule of a route matches goes to the service itself: Kuma adds a rule for it")
    limits = [(rule.timeout, rule.retry) for rule in intent.rules]
    if any(one != limits[0] for one in limits):
        return Unsupported("a service's timeout and retries are the same for all of its routes")
    name = intent.name or intent.service
    routed = http_route(
        settings, intent.namespace, intent.service, intent.port, intent.rules, intent.marker,
        home=intent.parent_namespace or intent.namespace, name=name,
    )  # fmt: skip
    if isinstance(routed, Unsupported):
        return routed
    target = mesh_service(settings, intent.parent_namespace or intent.namespace, intent.service)
    timeout, retry = limits[0]
    more = _limits(settings, intent.namespace, name, target, timeout, retry)
    return Rendered(objects=(*routed.objects, *more))


@render.register
def _(intent: RouteTimeout, settings: KumaSettings) -> Rendered | Unsupported:
    target = mesh_service(settings, intent.namespace, intent.service)
    return Rendered(objects=tuple(_limits(settings, intent.namespace, intent.service, target, intent.seconds, None)))


@render.register
def _(intent: NoRetries, settings: KumaSettings) -> Rendered | Unsupported:
    """A Mesh comes with a MeshRetry for all of it: five retries on a gateway's error, of any method."""
    target = mesh_service(settings, intent.namespace, intent.service)
    return Rendered(objects=(_retry(settings, intent.namespace, intent.service, target, {"numRetries": 0}),))


def http_route(
    settings: KumaSettings,
    namespace: str,
    service: str,
    port: int,
    rules: Sequence[RouteRule],
    marker: Marker | None,
    *,
    home: str = "",
    name: str = "",
) -> Rendered | Unsupported:
    """The route of a service (that lives in `home`), with the mark first: of matches alike the first one decides."""
    mirrored = [rule.mirror.backend for rule in rules if rule.mirror]
    marked = [marker.backend] if marker else []
    if refused := nameless(*(one.backend for rule in rules for one in rule.targets), *mirrored, *marked):
        return refused
    found: list[dict[str, Any]] = []
    if marker is not None:
        match = RequestMatch(headers=((marker.header, marker.value),))
        found.append(_rule(settings, RouteRule((Target(marker.backend),), (match,)), namespace, port))
    found.extend(_rule(settings, rule, namespace, port) for rule in rules)
    target = mesh_service(settings, home or namespace, service, port)
    spec = {"to": [{"targetRef": target, "rules": found}]}
    return Rendered(objects=(policy(settings, "MeshHTTPRoute", name or service, namespace, spec),))


def to_service(service: str) -> RouteRule:
    """Everything to the service itself."""
    return RouteRule((Target(Backend(service, service=service)),))


def _limits(
    settings: KumaSettings, namespace: str, name: str, target: Manifest, timeout: float, retry: Retry | None
) -> list[Manifest]:
    found: list[Manifest] = []
    if timeout:
        default: dict[str, Any] = {"http": {"requestTimeout": duration(timeout)}}
        spec = {"to": [{"targetRef": dict(target), "default": default}]}
        found.append(policy(settings, "MeshTimeout", name, namespace, spec))
    if retry is not None:
        # Statuses alone are added to Kuma's default, which has all errors of gateways (meshretry, genHttpRetryPolicy).
        # A try that ran into its own limit is one of those to Envoy, which statuses do not cover.
        by_word = ["GatewayError"] if retry.per_try else ["ConnectFailure"] if retry.codes else []
        on = [*by_word, *(map(str, retry.codes) if retry.codes else ("5xx",))]
        http: dict[str, Any] = {"numRetries": retry.attempts, "retryOn": on}
        if retry.per_try:
            http["perTryTimeout"] = duration(retry.per_try)
        found.append(_retry(settings, namespace, name, target, http))
    return found


def _retry(settings: KumaSettings, namespace: str, name: str, target: Manifest, http: Manifest) -> Manifest:
    spec = {"to": [{"targetRef": dict(target), "default": {"http": dict(http)}}]}
    return policy(settings, "MeshRetry", name, namespace, spec)


def _rule(settings: KumaSettings, rule: RouteRule, namespace: str, port: int) -> dict[str, Any]:
    default: dict[str, Any] = {}
    mirror: dict[str, Any] | None = None
    if rule.mirror:
        mirror = {"backendRef": _backend(settings, namespace, rule.mirror.backend.service, port)}
        mirror |= {"percentage": rule.mirror.percent} if rule.mirror.percent != 100 else {}
    if applied := filters(rule, mirror):
        default["filters"] = applied
    if rule.targets:
        default["backendRefs"] = [
            {**_backend(settings, one.namespace or namespace, one.backend.service, port), "weight": one.weight}
            for one in rule.targets
        ]
    return {"matches": [_match(one) for one in rule.matches or (RequestMatch(),)], "default": default}


def _backend(settings: KumaSettings, namespace: str, service: str, port: int) -> dict[str, Any]:
    return {**mesh_service(settings, namespace, service), "port": port}


def _match(match: RequestMatch) -> dict[str, Any]:
    by_path = {"type": "Exact", "value": match.path} if match.path else None
    found: dict[str, Any] = {"path": by_path or {"type": "PathPrefix", "value": match.prefix or "/"}}
    if match.method:
        found["method"] = match.method
    if match.headers:
        found["headers"] = exact(match.headers)
    if match.query:
        found["queryParams"] = exact(match.query)
    return found
