"""Traffic: Gateway API routes, and annotations on routes and Services for everything else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conformance.adapters import gateway_api_words
from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import by_itself, cannot, duration
from conformance.intents import (
    Backend,
    BackendGrant,
    ConnectionLimit,
    EachRequest,
    InLocality,
    LocalityFailover,
    NoRetries,
    OutlierEjection,
    RateLimit,
    RequestRoute,
    Retry,
    RetryBudget,
    RoundRobin,
    RouteRule,
    RouteTimeout,
    StickyHeader,
    Target,
    WeightedRoute,
)
from fixtures.workloads.manifests import GRPC_SERVICE

from .base import LinkerdSettings, render

by_itself(render, EachRequest)
cannot(
    render,
    "zones are kept as Kubernetes' hints say, by nodes",
    InLocality,
    LocalityFailover,
)
cannot(render, "a client's connections and requests to a service cannot be capped", ConnectionLimit)
cannot(render, "retries are counted by route, not as a share of the requests in flight", RetryBudget)
cannot(render, "nothing is tried again by default: there is nothing to set aside", NoRetries)
cannot(render, "the endpoint that has answered fastest gets the next request, always", RoundRobin, StickyHeader)
cannot(render, "requests are limited at each server's port, not for a service", RateLimit)

ACCRUAL = "balancer.linkerd.io/failure-accrual"
LACKING = {"rewrite": "rewrites", "mirror": "mirrors", "fault": "faults"}


@render.register(WeightedRoute)
@render.register(BackendGrant)
def _(intent: WeightedRoute | BackendGrant, settings: LinkerdSettings) -> Rendered | Unsupported:
    rendered = gateway_api_words.render(intent)
    return rendered if isinstance(rendered, Unsupported) else _understood(rendered)


@render.register
def _(intent: RequestRoute, settings: LinkerdSettings) -> Rendered | Unsupported:
    """A route's retries are annotations of the whole route, its timeout too unless the rules have different ones."""
    for field, what in LACKING.items():
        if any(getattr(rule, field) for rule in intent.rules):
            return Unsupported(f"its proxies know no {what} in a route")
    if intent.protocol == "grpc" and any(rule.retry for rule in intent.rules):
        return Unsupported("gRPC's retries are by gRPC's own statuses")
    first = intent.rules[0]
    alike = all(rule.timeout == first.timeout for rule in intent.rules)
    if any(rule.retry and rule.retry.per_try for rule in intent.rules):
        return Unsupported("the last try of a request has no time limit of its own, all others have")
    if any(rule.retry != first.retry for rule in intent.rules) or not (alike or intent.protocol == "http"):
        return Unsupported("a route's retries are the same for all of its rules, and a GRPCRoute's timeout too")
    kept = (replace(rule, timeout=0.0 if alike else rule.timeout, retry=None) for rule in intent.rules)
    rendered = gateway_api_words.render(replace(intent, rules=tuple(kept)))
    if isinstance(rendered, Unsupported):
        return rendered
    rendered, marks = _understood(rendered), _limits(first.timeout if alike else 0.0, first.retry)
    return replace(rendered, objects=tuple(_annotated(one, marks) for one in rendered.objects))


@render.register
def _(intent: RouteTimeout, settings: LinkerdSettings) -> Rendered | Unsupported:
    itself = RouteRule((Target(Backend(intent.service, service=intent.service)),), timeout=intent.seconds)
    return render(RequestRoute(intent.namespace, intent.service, intent.port, (itself,)), settings)


@render.register
def _(intent: OutlierEjection, settings: LinkerdSettings) -> Rendered | Unsupported:
    """Consecutive failures; a host is tried again after the penalty, which must not grow or vary."""
    if intent.most_percent < 100:
        return Unsupported("how many hosts may be ejected at once cannot be bounded")
    penalty = duration(intent.ejection)
    marks = {
        ACCRUAL: "consecutive",
        f"{ACCRUAL}-consecutive-max-failures": str(intent.consecutive),
        f"{ACCRUAL}-consecutive-min-penalty": penalty,
        f"{ACCRUAL}-consecutive-max-penalty": penalty,
        f"{ACCRUAL}-consecutive-jitter-ratio": "0.0",
    }
    meta = {"name": intent.service, "namespace": intent.namespace, "annotations": marks}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta}
    if intent.marker is None:
        return Rendered(merges=(service,))
    itself = RouteRule((Target(Backend(intent.service, service=intent.service)),))
    marked = RequestRoute(intent.namespace, intent.service, intent.port, (itself,), intent.marker, "service")
    rendered = gateway_api_words.render(marked)
    return rendered if isinstance(rendered, Unsupported) else replace(rendered, merges=(service,))


def _limits(timeout: float, retry: Retry | None) -> dict[str, str]:
    """Timeout and retries as annotations of a route."""
    found: dict[str, str] = {}
    if timeout:
        found["timeout.linkerd.io/request"] = duration(timeout)
    if retry is not None:
        found["retry.linkerd.io/limit"] = str(retry.attempts)
        found["retry.linkerd.io/http"] = ",".join(map(str, retry.codes)) or "5xx"
    return found


def _annotated(item: Manifest, annotations: Mapping[str, str]) -> Manifest:
    if not annotations:
        return item
    return {**item, "metadata": {**item["metadata"], "annotations": dict(annotations)}}


def _understood(rendered: Rendered) -> Rendered:
    """Routes that say what others leave to Gateway API's defaults, where Linkerd's are others (seen in August 2026).

    It looks for the backends of a consumer's route in the namespace of the parent. And proxies refuse a GRPCRoute as a
    whole if a match names no method: the suite's own mark, which is the first rule, names the service of its servers.
    """
    return replace(rendered, objects=tuple(map(_spelled_out, rendered.objects)))


def _spelled_out(item: Manifest) -> Manifest:
    changed: dict[str, Any] = copy.deepcopy(dict(item))
    rules = changed["spec"].get("rules", [])
    if any("namespace" in parent for parent in changed["spec"].get("parentRefs", [])):
        for ref in (ref for rule in rules for ref in rule.get("backendRefs", [])):
            ref.setdefault("namespace", changed["metadata"]["namespace"])
    if item["kind"] == "GRPCRoute":
        for match in rules[0].get("matches", []):
            match.setdefault("method", {"type": "Exact", "service": GRPC_SERVICE})
    return changed
