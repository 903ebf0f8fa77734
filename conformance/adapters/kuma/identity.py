"""Identity: the header that names the caller, and what is not offered from outside."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest, OwnMtls, PeerHeader, RotateRoot, ShortCertificates

from .base import KumaSettings, render

cannot(render, "certificates come with the proxy's configuration: there is no authority to ask", CertificateRequest)
cannot(render, "a root is replaced by the user's own MeshIdentity, or Mesh, step by step, and stays", RotateRoot)
cannot(render, "how long certificates live is said by a MeshIdentity or the Mesh, not by a pod", ShortCertificates)
cannot(render, "a pod without a proxy is no part of the mesh", OwnMtls)


@render.register
def _(intent: PeerHeader, settings: KumaSettings) -> Rendered | Unsupported:
    return Rendered(header="x-forwarded-client-cert")
