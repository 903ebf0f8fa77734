"""Intents of what a mesh says about traffic."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent

__all__ = ["LogAccesses", "RequestMetrics", "TraceRequests"]


@dataclass(frozen=True)
class RequestMetrics(Intent):
    """Proxies count requests, and tell everybody who may scrape."""


@dataclass(frozen=True)
class TraceRequests(Intent):
    """Proxies of a namespace take part in traces by W3C trace context, and every trace that they begin is recorded."""

    namespace: str


@dataclass(frozen=True)
class LogAccesses(Intent):
    """The proxy of a workload writes every request to it into its container's log."""

    namespace: str
    workload: str
