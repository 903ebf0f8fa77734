"""Telemetry: what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import RequestMetrics

from .base import render

cannot(render, "its proxies count by Envoy cluster, without the workload that asks", RequestMetrics)
