"""Consul: configuration entries named after services, and pod annotations."""

from . import authorization, balancing, gateway, identity, injection, routing, security, telemetry, traffic
from .adapter import Consul, ConsulSettings

__all__ = [
    "Consul",
    "ConsulSettings",
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
