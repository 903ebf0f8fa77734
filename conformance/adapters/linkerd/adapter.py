"""The adapter of Linkerd."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.adapters.base import Proxy, Rendered, Unsupported
from conformance.adapters.installed import deployment_problem, deployment_version
from conformance.adapters.pages import dump_pages
from conformance.adapters.settings import Place
from conformance.intents import Intent
from fixtures.kube import Kube

from .base import LinkerdSettings, render

__all__ = ["Linkerd", "LinkerdSettings"]

ADMIN_PORT = 4191
INBOUND_PORT = 4143
"""Where proxies meet since 2.18, whose outbound transport mode is `transport-header` unless an install says else."""
PAGES = {"metrics.txt": "/metrics", "env.json": "/env.json"}


class Linkerd:
    """Renders intents for Linkerd 2.16 and later. Pure but for `version`, `problem` and `dump`."""

    name = "linkerd"
    title = "Linkerd"
    proxy = Proxy("linkerd-proxy", named_by_identity=True, inbound_port=INBOUND_PORT)
    Settings = LinkerdSettings

    def __init__(self, settings: LinkerdSettings | None = None) -> None:
        self.settings = settings or LinkerdSettings()

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent in Linkerd's words."""
        return render(intent, self.settings)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """Linkerd's DNS name of a service account."""
        where = f"identity.{self.settings.namespace}.{self.settings.trust_domain}"
        return f"{service_account}.{namespace}.serviceaccount.{where}"

    def control_plane(self) -> tuple[str, str] | None:
        """The Deployment that tells proxies where to go."""
        return Place(self.settings.namespace, "linkerd-destination")

    def version(self, kube: Kube) -> str:
        """The version of the control plane."""
        return deployment_version(kube, Place(self.settings.namespace, "linkerd-destination"))

    def problem(self, kube: Kube) -> str:
        """Whether the control plane and its injector are there and available."""
        for name in ("linkerd-destination", "linkerd-proxy-injector"):
            fix = "run `linkerd install`, or name its namespace with --set namespace=NAME"
            if problem := deployment_problem(kube, Place(self.settings.namespace, name), "Linkerd", fix):
                return problem
        return ""

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """The proxy's metrics and environment."""
        return dump_pages(kube, namespace, pod, self.proxy.container, ADMIN_PORT, PAGES)
