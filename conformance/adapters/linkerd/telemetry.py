"""Telemetry: what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import LogAccesses, RequestMetrics, TraceRequests

from .base import render

cannot(render, "no label of its metrics has a service's full name, and peers are named by deployment", RequestMetrics)
cannot(render, "its proxies take part in traces only with a collector that is named at install", TraceRequests)
cannot(render, "accesses are logged where an annotation of the pod says so before it starts", LogAccesses)
