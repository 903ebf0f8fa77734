"""Telemetry: access logs by an annotation, and what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.base import Rendered
from conformance.adapters.words import cannot
from conformance.intents import LogAccesses, RequestMetrics, TraceRequests

from .base import LinkerdSettings, on_namespace, render

cannot(render, "no label of its metrics has a service's full name, and peers are named by deployment", RequestMetrics)
cannot(render, "its proxies take part in traces only with a collector that is named at install", TraceRequests)


@render.register
def _(intent: LogAccesses, settings: LinkerdSettings) -> Rendered:
    """Of a whole namespace: its pods take it over when they are created."""
    return Rendered(merges=(on_namespace(intent.namespace, "access-log", "apache"),))
