"""Where Istio's proxies tell what they counted. refmesh's do so in the same place and words."""

from __future__ import annotations

from conformance.adapters.base import Exposition, Rendered
from conformance.intents import RequestMetrics

from .base import render

__all__ = ["EXPOSITION"]

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
