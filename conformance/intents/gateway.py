"""Intents of the way in from outside of the mesh."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent

__all__ = ["Ingress"]


@dataclass(frozen=True)
class Ingress(Intent):
    """A gateway of the mesh's own, open on port 80 for one host, whose requests go to a service of its namespace."""

    name: str
    namespace: str
    host: str
    service: str
    port: int
    """The service's."""
    secret: str = ""
    """Also open on port 443, where TLS ends with the certificate in this Secret of type `kubernetes.io/tls`."""
