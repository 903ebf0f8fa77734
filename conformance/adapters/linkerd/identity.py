"""Identity: the header that names the caller, and what is not offered from outside."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest, MeshMtlsMode, OwnMtls, PeerHeader, RotateRoot, ShortCertificates

from .base import LinkerdSettings, render

cannot(render, "the identity service speaks a protocol of its own, not Istio's CreateCertificate", CertificateRequest)
cannot(render, "the authority's root is replaced by installing it anew, not by an object", RotateRoot)
cannot(render, "how long certificates live is settled when the mesh is installed", ShortCertificates)
cannot(render, "a pod without a proxy is no part of the mesh", OwnMtls)
cannot(render, "the mode of the mesh is settled when it is installed", MeshMtlsMode)


@render.register
def _(intent: PeerHeader, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(header="l5d-client-id")
