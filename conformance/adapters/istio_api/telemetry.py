"""Where Istio's proxies tell what they counted, and its Telemetry. refmesh has the same places and words."""

from __future__ import annotations

from conformance.adapters.base import Exposition, Rendered
from conformance.intents import LogAccesses, RequestMetrics, TraceRequests

from .base import manifest, render

__all__ = ["EXPOSITION"]

_API = "telemetry.istio.io/v1"
EXPOSITION = Exposition(
    port=15020,
    path="/stats/prometheus",
    requests="istio_requests_total",
    at_client={"reporter": "source"},
    at_server={"reporter": "destination"},
    service="destination_service",
    code="response_code",
    source="source_workload",
    source_identity="source_principal",
    destination="destination_workload",
    # Envoy's flag for an upstream overflow
    overflow={"response_code": "503", "response_flags": "UO"},
)


@render.register
def _(_intent: RequestMetrics) -> Rendered:
    """Nothing to apply: sidecars count by default."""
    return Rendered(exposition=EXPOSITION)


@render.register
def _(intent: TraceRequests) -> Rendered:
    """All of a namespace's traces."""
    spec = {"tracing": [{"randomSamplingPercentage": 100}]}
    return Rendered(objects=(manifest(_API, "Telemetry", "meshproof-traces", intent.namespace, spec),))


@render.register
def _(intent: LogAccesses) -> Rendered:
    """By the provider that writes to the container's log."""
    spec = {
        "selector": {"matchLabels": {"app": intent.workload}},
        "accessLogging": [{"providers": [{"name": "envoy"}], "disabled": False}],
    }
    return Rendered(objects=(manifest(_API, "Telemetry", f"{intent.workload}-log", intent.namespace, spec),))
