"""Intents in Istio's kinds and labels, one file a capability. refmesh speaks them too, so both adapters start here.

`render` dispatches on the intent's type; importing this package registers every renderer.
"""

from . import authorization, balancing, egress, identity, injection, resilience, routing, security, telemetry, traffic
from .base import render

__all__ = [
    "authorization",
    "balancing",
    "egress",
    "identity",
    "injection",
    "render",
    "resilience",
    "routing",
    "security",
    "telemetry",
    "traffic",
]
