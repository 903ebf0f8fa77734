"""Telemetry: what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import LogAccesses, RequestMetrics, TraceRequests

from .base import render

cannot(render, "requests are counted by the node's agent, not by a proxy beside the workload", RequestMetrics)
cannot(render, "requests are handled by the node's proxy, which begins no traces", TraceRequests)
cannot(render, "requests are handled by the node's proxy, which logs to the node's agent", LogAccesses)
