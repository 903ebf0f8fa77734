"""What workloads are called, and who certifies it."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent

__all__ = ["CertificateRequest"]


@dataclass(frozen=True)
class CertificateRequest(Intent):
    """Ask the mesh's certificate authority for a workload certificate as a workload would."""

    namespace: str
    service_account: str
