"""Intents of the ways into the mesh and out of it."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent

__all__ = ["Ingress", "OutsideHost", "WayOut"]


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


@dataclass(frozen=True)
class WayOut(Intent):
    """What the pods of a workload may call: any address, or only what the mesh has been told of."""

    namespace: str
    workload: str
    registered_only: bool


@dataclass(frozen=True)
class OutsideHost(Intent):
    """The mesh is told of a host outside: HTTP on a port of an address, which is served on another port there."""

    name: str
    namespace: str
    host: str
    address: str
    """IPv4, that of the endpoint as well."""
    port: int
    """The one that clients call."""
    target: int
    """The endpoint's."""
