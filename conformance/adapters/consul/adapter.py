"""The adapter of Consul on Kubernetes, with transparent proxies."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.adapters.base import Proxy, Rendered, Unsupported
from conformance.adapters.installed import deployment_problem, deployment_version
from conformance.adapters.pages import ENVOY, dump_pages
from conformance.intents import Intent
from fixtures.kube import Kube

from .base import ConsulSettings, render

__all__ = ["Consul", "ConsulSettings"]

ADMIN_PORT = 19000
INBOUND_PORT = 20000
"""With which consul-k8s registers every proxy: `ProxyDefaultInboundPort`."""


class Consul:
    """Renders intents for Consul. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "consul"
    title = "Consul on Kubernetes"
    # A permissive one hands on what comes to the application's own port (consul, agent/xds/listeners.go).
    proxy = Proxy("consul-dataplane", ADMIN_PORT, inbound_port=INBOUND_PORT, shakes_there=True)
    Settings = ConsulSettings

    def __init__(self, settings: ConsulSettings | None = None) -> None:
        self.settings = settings or ConsulSettings()

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent in Consul's words."""
        return render(intent, self.settings)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """SPIFFE by service, which with Consul's ACLs is called like its service account, as the suite's are."""
        if not self.settings.trust_domain:
            return Unsupported("the trust domain holds the cluster's id: --set trust-domain=<cluster id>.consul")
        space = namespace if self.settings.mirrored else "default"
        return f"spiffe://{self.settings.trust_domain}/ns/{space}/dc/{self.settings.datacenter}/svc/{service_account}"

    def control_plane(self) -> tuple[str, str] | None:
        """The Deployment that injects proxies and carries configuration to the servers."""
        return self.settings.control_plane

    def version(self, kube: Kube) -> str:
        """The version of consul-k8s."""
        return deployment_version(kube, self.settings.control_plane)

    def problem(self, kube: Kube) -> str:
        """Whether the control plane is there and available."""
        fix = "run `consul-k8s install`, or name another one with --set control-plane=NAMESPACE/NAME"
        return deployment_problem(kube, self.settings.control_plane, "Consul", fix)

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """What the pod's Envoy says of itself."""
        return dump_pages(kube, namespace, pod, self.proxy.container, ADMIN_PORT, ENVOY)
