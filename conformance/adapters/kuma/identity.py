"""Identity: the header that names the caller, and what is not offered from outside."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest, OwnMtls, PeerHeader, RotateRoot, ShortCertificates

from .base import KumaSettings, render

cannot(render, "certificates come with the proxy's configuration: there is no authority to ask", CertificateRequest)
cannot(render, "the authority's root is replaced by installing it anew, not by an object", RotateRoot)
cannot(render, "how long certificates live is settled when the mesh is installed", ShortCertificates)
cannot(render, "a pod without a proxy is no part of the mesh", OwnMtls)


@render.register
def _(intent: PeerHeader, settings: KumaSettings) -> Rendered | Unsupported:
    return Rendered(header="x-forwarded-client-cert")
