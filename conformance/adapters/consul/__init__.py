"""Consul: configuration entries named after services, and pod annotations."""

from . import identity, injection, routing, security, traffic
from .adapter import Consul, ConsulSettings

__all__ = ["Consul", "ConsulSettings", "identity", "injection", "routing", "security", "traffic"]
