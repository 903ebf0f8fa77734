"""Telemetry: what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import LogAccesses, RequestMetrics, TraceRequests

from .base import render

cannot(render, "its proxies count by Envoy cluster, without the workload that asks", RequestMetrics)
cannot(render, "traces need a MeshTrace with the address of a collector", TraceRequests)
cannot(render, "accesses are logged by a MeshAccessLog, which this adapter does not write yet", LogAccesses)
