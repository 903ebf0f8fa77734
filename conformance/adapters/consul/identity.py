"""Identity: the header that names the caller, and what is not offered from outside."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import CertificateRequest, MeshMtlsMode, OwnMtls, PeerHeader, RotateRoot, ShortCertificates

from .base import ConsulSettings, render

cannot(render, "certificates come from Consul's own API, not by Istio's CreateCertificate", CertificateRequest)
cannot(render, "the authority is told of another root by Consul's own API, not by an object", RotateRoot)
cannot(render, "how long certificates live is told the authority by Consul's own API, not by a pod", ShortCertificates)
cannot(render, "a pod without a proxy is no part of the mesh", OwnMtls)
cannot(render, "the mode of the mesh is in ProxyDefaults, beside other things of the installation", MeshMtlsMode)


@render.register
def _(intent: PeerHeader, settings: ConsulSettings) -> Rendered | Unsupported:
    return Rendered(header="x-forwarded-client-cert")
