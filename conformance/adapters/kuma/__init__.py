"""Kuma 2 and 3: policies of its own, in the namespace of what they apply to."""

from . import authorization, balancing, gateway, identity, injection, routing, security, telemetry, traffic
from .adapter import Kuma, KumaSettings

__all__ = [
    "Kuma",
    "KumaSettings",
    "authorization",
    "balancing",
    "gateway",
    "identity",
    "injection",
    "routing",
    "security",
    "telemetry",
    "traffic",
]
