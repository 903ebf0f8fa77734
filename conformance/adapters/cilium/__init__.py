"""Cilium: per node, no sidecar. Gateway API routes, and raw Envoy configuration for what those cannot say."""

from . import authorization, gateway, identity, injection, security, telemetry, traffic
from .adapter import Cilium, CiliumSettings

__all__ = [
    "Cilium",
    "CiliumSettings",
    "authorization",
    "gateway",
    "identity",
    "injection",
    "security",
    "telemetry",
    "traffic",
]
