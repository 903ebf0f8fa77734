"""refmesh, the reference mesh: Istio's kinds and labels, and Gateway API routes where backends are services."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.intents import (
    CertificateRequest,
    Ingress,
    Intent,
    LenientPaths,
    MeshMtlsMode,
    RotateRoot,
    ShortCertificates,
)
from fixtures.kube import Kube

from . import gateway_api_words, istio_api
from .base import Authority, Proxy, Rendered, Unsupported
from .installed import deployment_problem, deployment_version
from .pages import ENVOY, dump_pages
from .settings import MeshSettings, Place

__all__ = ["Refmesh"]

SYSTEM = "refmesh-system"
PLANE = Place(SYSTEM, "refmesh")
_AUTHORITY = Authority(
    namespace=SYSTEM,
    selector="app=refmesh",
    port=15012,
    audience="istio-ca",
    server_name=f"refmesh.{SYSTEM}.svc",
    roots=(SYSTEM, "refmesh-ca-root-cert", "root-cert.pem"),
    shortest=10,
    longest=86_400,
    discovery=15011,
    rejections=(15014, "/metrics", "refmesh_nacks_total"),
)


def _rotation(request: str) -> dict[str, object]:
    """What the control plane takes for the wish of a new root."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "refmesh-ca-rotation", "namespace": SYSTEM},
        "data": {"kind": "root", "id": request},
    }


class Refmesh:
    """Renders intents for refmesh. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "refmesh"
    title = "refmesh, the reference mesh"
    proxy = Proxy("refmesh-proxy", 15000)
    Settings = MeshSettings

    def __init__(self, settings: MeshSettings | None = None) -> None:
        self.settings = settings or MeshSettings()

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent as refmesh's objects and labels."""
        if isinstance(intent, CertificateRequest):
            return Rendered(authority=_AUTHORITY)
        if isinstance(intent, ShortCertificates):
            return Rendered(annotations={"proxy.refmesh.io/certificateSeconds": str(intent.seconds)})
        if isinstance(intent, RotateRoot):
            return Rendered(objects=(_rotation(intent.request),))
        if isinstance(intent, LenientPaths):
            return Rendered()  # that is how it compares them, wherever a policy names one
        if isinstance(intent, MeshMtlsMode):
            return istio_api.security.mesh_mode(SYSTEM, intent.mode)
        if isinstance(intent, Ingress):
            return gateway_api_words.ingress(intent, self.name, f"{intent.name}-{self.name}")
        return istio_api.render(intent)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """SPIFFE by Istio's template."""
        return f"spiffe://{self.settings.trust_domain}/ns/{namespace}/sa/{service_account}"

    def control_plane(self) -> tuple[str, str] | None:
        """One Deployment."""
        return PLANE

    def version(self, kube: Kube) -> str:
        """The version of the control plane."""
        return deployment_version(kube, PLANE)

    def problem(self, kube: Kube) -> str:
        """Whether the control plane is there and available."""
        return deployment_problem(kube, PLANE, "refmesh", "run `meshproof refmesh install`")

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """What the pod's Envoy says of itself."""
        return dump_pages(kube, namespace, pod, self.proxy.container, 15000, ENVOY)
