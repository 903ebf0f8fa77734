"""Telemetry: what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import RequestMetrics

from .base import render

cannot(render, "requests are counted by the node's agent, not by a proxy beside the workload", RequestMetrics)
