"""Intents of what a mesh says about traffic."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent

__all__ = ["RequestMetrics"]


@dataclass(frozen=True)
class RequestMetrics(Intent):
    """Proxies count requests, and tell everybody who may scrape."""
