"""Identity: what is not offered from outside."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest, MeshMtlsMode, OwnMtls, PeerHeader, RotateRoot, ShortCertificates

from .base import render

cannot(render, "there is no certificate authority that workloads ask", CertificateRequest)
cannot(render, "the authority's root is replaced by installing it anew, not by an object", RotateRoot)
cannot(render, "how long certificates live is settled when the mesh is installed", ShortCertificates)
cannot(render, "a pod without a proxy is no part of the mesh", OwnMtls)
cannot(render, "namespaces are enrolled for mTLS as a whole; none can be made strict or permissive", MeshMtlsMode)
cannot(render, "applications are not told who calls", PeerHeader)
