"""Timeouts and retries as `HTTPRoute` has them."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import duration
from conformance.intents import Retry, RouteTimeout

from .base import parent_ref, render, route

__all__ = ["patience"]


def patience(timeout: float, retry: Retry | None) -> dict[str, Any]:
    """The fields `timeouts` and `retry` of a rule."""
    found: dict[str, Any] = {}
    timeouts: dict[str, str] = {}
    if timeout:
        timeouts["request"] = duration(timeout)
    if retry is not None:
        found["retry"] = {"attempts": retry.attempts} | ({"codes": list(retry.codes)} if retry.codes else {})
        if retry.per_try:
            timeouts["backendRequest"] = duration(retry.per_try)
    return found | ({"timeouts": timeouts} if timeouts else {})


@render.register
def _(intent: RouteTimeout) -> Rendered | Unsupported:
    rule = {"backendRefs": [{"name": intent.service, "port": intent.port}], **patience(intent.seconds, None)}
    parent = parent_ref(intent.service, intent.port)
    return Rendered(objects=(route("HTTPRoute", intent.service, intent.namespace, parent, [rule]),))
