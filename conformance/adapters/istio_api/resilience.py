"""Retries and their budget: `VirtualService` and `DestinationRule`."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import NoRetries, Retry, RetryBudget

from .base import duration, render
from .traffic import destination_rule, marked, virtual_service

__all__ = ["retries", "without_retries"]

cannot(render, "what a server has seen is not tried again by default: there is nothing to set aside", NoRetries)


def retries(retry: Retry) -> dict[str, Any]:
    """The field `retries` of an HTTP route."""
    found: dict[str, Any] = {"attempts": retry.attempts}
    if retry.per_try:
        found["perTryTimeout"] = duration(retry.per_try)
    # A try that ran into its own limit is a gateway's error to Envoy, which the statuses alone do not cover.
    conditions = [*(["gateway-error"] if retry.per_try else []), *(str(code) for code in retry.codes)]
    return found | ({"retryOn": ",".join(conditions)} if conditions else {})


def without_retries(intent: NoRetries) -> Rendered:
    """A route by which nothing is tried again, whatever the mesh config's `defaultHttpRetryPolicy` says.

    No attempts are no policy, and only a route that says nothing gets the mesh's (Istio's `retry.ConvertPolicy`).
    """
    route = {"route": [{"destination": {"host": intent.service}}], "retries": {"attempts": 0}}
    return Rendered(objects=(virtual_service(intent.namespace, intent.service, [route]),))


@render.register
def _(intent: RetryBudget) -> Rendered | Unsupported:
    budget = {"percent": intent.percent, "minRetryConcurrency": intent.least}
    backends = [intent.marker.backend] if intent.marker else []
    plain = {"route": [{"destination": {"host": intent.service}}], "retries": retries(intent.retry)}
    return Rendered(
        objects=(
            destination_rule(intent.namespace, intent.service, backends, {"retryBudget": budget}),
            virtual_service(intent.namespace, intent.service, [*marked(intent.service, intent.marker), plain]),
        )
    )
