"""Telemetry: what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import RequestMetrics

from .base import render

cannot(render, "no label of its metrics has a service's full name, and peers are named by deployment", RequestMetrics)
