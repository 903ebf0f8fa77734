"""Consul: configuration entries named after services, and pod annotations."""

from . import authorization, identity, injection, routing, security, traffic
from .adapter import Consul, ConsulSettings

__all__ = ["Consul", "ConsulSettings", "authorization", "identity", "injection", "routing", "security", "traffic"]
