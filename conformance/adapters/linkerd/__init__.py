"""Linkerd: annotations on namespaces, pods and services, Gateway API routes, and its own policy kinds."""

from . import authorization, gateway, identity, injection, security, telemetry, traffic
from .adapter import Linkerd, LinkerdSettings

__all__ = [
    "Linkerd",
    "LinkerdSettings",
    "authorization",
    "gateway",
    "identity",
    "injection",
    "security",
    "telemetry",
    "traffic",
]
