"""What workloads are called, and who certifies it."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Intent

__all__ = ["CertificateRequest", "OwnMtls", "PeerHeader", "ShortCertificates"]


@dataclass(frozen=True)
class CertificateRequest(Intent):
    """Ask the mesh's certificate authority for a workload certificate as a workload would."""

    namespace: str
    service_account: str


@dataclass(frozen=True)
class PeerHeader(Intent):
    """Tell applications who the verified caller is. Rendered as the name of the request header that says so."""


@dataclass(frozen=True)
class OwnMtls(Intent):
    """A pod without a proxy serves the mesh's mTLS by itself, so callers treat it as a part of the mesh.

    Rendered as labels and annotations of the pod.
    """


@dataclass(frozen=True)
class ShortCertificates(Intent):
    """Give a pod certificates that live this long. Rendered as labels and annotations of the pod."""

    seconds: int
