"""What holds for the whole mesh. One frozen object, handed to every generator."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INBOUND_PORT", "OUTBOUND_PORT", "RESERVED_PORTS", "MeshSettings"]

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
RESERVED_PORTS = range(15000, 15091)
"""Ports of the proxy and its agent; never an application's."""


@dataclass(frozen=True)
class MeshSettings:
    """Names that every resource depends on, and choices of the mesh's operator."""

    trust_domain: str = "cluster.local"
    domain: str = "cluster.local"
    root_namespace: str = "refmesh-system"
    access_log: bool = True
    allow_unknown: bool = True
    """Whether workloads may reach hosts that are neither a Service's nor a ServiceEntry's."""

    def identity(self, namespace: str, service_account: str) -> str:
        """The SPIFFE identity of a service account."""
        return f"spiffe://{self.trust_domain}/ns/{namespace}/sa/{service_account}"
