"""Istio with sidecars. Also any mesh that speaks Istio's API: settings say where its control plane and proxy are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from conformance.intents import (
    Access,
    CertificateRequest,
    Ingress,
    Inject,
    Intent,
    MeshMtlsMode,
    NoRetries,
    RateLimit,
    RotateRoot,
    Scope,
    TraceRequests,
)
from fixtures.kube import Kube

from . import gateway_api_words, istio_api
from .base import Authority, Proxy, Rendered, Unsupported
from .installed import deployment_problem, deployment_version
from .pages import ENVOY, dump_pages
from .settings import MeshSettings, NamespacedName, Place

__all__ = ["Istio", "IstioSettings"]

ADMIN_PORT, AUTHORITY_PORT, MONITORING_PORT, ALPN = 15000, 15012, 15014, ("istio",)
OF_REVISION = "istiod-"
"""How the Deployment of a revision's control plane is called, before the revision."""
CANNOT: Mapping[type[Intent], str] = {
    RotateRoot: "the authority's root is replaced by a new secret and restarts, not by an object",
    TraceRequests: "whether proxies speak W3C trace context is chosen by a provider of its mesh config",
    RateLimit: "requests are limited by filters of Envoy's own configuration only",
}


class IstioSettings(MeshSettings):
    """How this Istio was installed."""

    control_plane: NamespacedName = Place("istio-system", "istiod")
    """Its Deployment; with a revision `istio-system/istiod-<revision>`."""
    root_namespace: str = ""
    """Whose policies hold for the whole mesh (`rootNamespace` of its mesh config); "": the control plane's."""
    revision: str = ""
    """Pods opt in by the label `istio.io/rev` with this value, or tag, instead of `istio-injection`."""
    proxy: str = "istio-proxy"
    """Name of the sidecar's container."""
    control_plane_app: str = "istiod"
    """Value of the label `app` of the control plane's pods."""
    root_certificates: NamespacedName | None = None
    """ConfigMap with the key `root-cert.pem`; `istio-ca-root-cert` of the control plane's namespace by default."""
    authority: NamespacedName | None = None
    """Whoever signs certificates in place of the control plane, asked by the same call, as cert-manager's istio-csr:
    the namespace and name of its Service. Its pods have that name in the label `app`."""
    authority_port: int = 6443
    """Of the containers of that one."""
    shortest_certificate: int = 10
    """The shortest that is asked of the authority, seconds; it signs any."""
    gateway_class: str = "istio"
    """GatewayClass of its ingress."""
    longest_certificate: int = 90 * 86_400
    """The longest that it may sign whatever it is asked for, seconds."""
    discovery_port: int = AUTHORITY_PORT
    """At which the control plane tells proxies their configuration."""
    rejections_counter: str = "pilot_total_xds_rejects"
    """The metric of the control plane that counts what proxies reject."""

    @property
    def root(self) -> str:
        """The root namespace."""
        return self.root_namespace or self.control_plane.namespace


class Istio:
    """Renders intents for Istio. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "istio"
    title = "Istio, with sidecars"
    Settings = IstioSettings

    def __init__(self, settings: IstioSettings | None = None) -> None:
        self.settings = settings or IstioSettings()
        self.proxy = Proxy(self.settings.proxy, ADMIN_PORT, ALPN)

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent in Istio's words."""
        if isinstance(intent, CertificateRequest):
            return Rendered(authority=self._authority())
        if isinstance(intent, Inject):
            return self._opt_in(intent)
        if isinstance(intent, MeshMtlsMode):
            return istio_api.security.mesh_mode(self.settings.root, intent.mode)
        if isinstance(intent, Ingress):
            # What Istio makes for a Gateway is called after both.
            return gateway_api_words.ingress(
                intent, self.settings.gateway_class, f"{intent.name}-{self.settings.gateway_class}"
            )
        if isinstance(intent, NoRetries):
            return istio_api.resilience.without_retries(intent)
        if reason := CANNOT.get(type(intent)):
            return Unsupported(reason)
        rendered = istio_api.render(intent)
        if isinstance(intent, Access) and isinstance(rendered, Rendered):
            rival = istio_api.authorization.rival(self.settings.root, intent.effect)
            return replace(rendered, rivals=(rival,))
        return rendered

    def _opt_in(self, intent: Inject) -> Rendered | Unsupported:
        """By the revision's label where there is one.

        A namespace also says that its pods may call every service: where a Sidecar of the root namespace has pods know
        those of their own alone, calls to strict workloads of others would be made in plaintext, and be refused.
        """
        rendered = istio_api.render(intent)
        if isinstance(rendered, Unsupported):
            return rendered
        if revision := self.settings.revision:
            also = {} if intent.scope is Scope.NAMESPACE else rendered.labels
            rendered = replace(rendered, labels={"istio.io/rev": revision, **also})
        if intent.scope is Scope.NAMESPACE:
            rendered = replace(rendered, objects=(istio_api.egress.every_service(),))
        return rendered

    def _authority(self) -> Authority:
        """Istiod's own certificate authority, or the one in its place, whose pods tell no proxy its configuration."""
        plane = self.settings.control_plane
        roots = self.settings.root_certificates or Place(plane.namespace, "istio-ca-root-cert")
        selector = f"app={self.settings.control_plane_app}"
        # Pods may opt in by a tag; those of a control plane have its revision, with which its name ends.
        if plane.name.startswith(OF_REVISION):
            selector += f",istio.io/rev={plane.name.removeprefix(OF_REVISION)}"
        own = Authority(
            namespace=plane.namespace,
            selector=selector,
            port=AUTHORITY_PORT,
            audience="istio-ca",
            server_name=f"{plane.name}.{plane.namespace}.svc",
            roots=(*roots, "root-cert.pem"),
            shortest=self.settings.shortest_certificate,
            longest=self.settings.longest_certificate,
            discovery=self.settings.discovery_port,
            rejections=(MONITORING_PORT, "/metrics", self.settings.rejections_counter),
        )
        other = self.settings.authority
        if other is None:
            return own
        return replace(
            own,
            namespace=other.namespace,
            selector=f"app={other.name}",
            port=self.settings.authority_port,
            server_name=f"{other.name}.{other.namespace}.svc",
            discovery=None,
            rejections=None,
            apart=True,
        )

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """SPIFFE by Istio's template."""
        return f"spiffe://{self.settings.trust_domain}/ns/{namespace}/sa/{service_account}"

    def control_plane(self) -> tuple[str, str] | None:
        """Istiod's Deployment."""
        return self.settings.control_plane

    def version(self, kube: Kube) -> str:
        """The version of the control plane."""
        return deployment_version(kube, self.settings.control_plane)

    def problem(self, kube: Kube) -> str:
        """Whether the control plane is there and available, and no policy for the whole mesh shuts the suite out."""
        fix = "install it with istioctl, or name another control plane with --set control-plane=NAMESPACE/NAME"
        unfit = deployment_problem(kube, self.settings.control_plane, "Istio", fix)
        return unfit or istio_api.authorization.shut(kube, self.settings.root)

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """What the pod's Envoy says of itself."""
        return dump_pages(kube, namespace, pod, self.proxy.container, ADMIN_PORT, ENVOY)
