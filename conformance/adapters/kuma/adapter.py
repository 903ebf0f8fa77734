"""The adapter of Kuma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.adapters.base import Proxy, Rendered, Unsupported
from conformance.adapters.installed import deployment_problem, deployment_version, major, running_pods
from conformance.adapters.pages import dump_pages
from conformance.intents import Intent
from fixtures.kube import Kube

from .base import KumaSettings, render

__all__ = ["Kuma", "KumaSettings"]

API_PORT = 5681
PAGES = {"config_dump.json": "xds", "clusters.txt": "clusters", "stats.txt": "stats"}


class Kuma:
    """Renders intents for Kuma. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "kuma"
    title = "Kuma 2 and 3 (--set version=2)"
    proxy = Proxy("kuma-sidecar", alpn=("kuma",))
    Settings = KumaSettings

    def __init__(self, settings: KumaSettings | None = None) -> None:
        self.settings = settings or KumaSettings()

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent in Kuma's words."""
        return render(intent, self.settings)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """SPIFFE by MeshIdentity's template on Kubernetes."""
        if not self.settings.by_identity:
            return Unsupported(
                "Mesh.mtls names workloads by service, not by service account; with a MeshIdentity set trust-domain"
            )
        return f"spiffe://{self.settings.domain}/ns/{namespace}/sa/{service_account}"

    def control_plane(self) -> tuple[str, str] | None:
        """One Deployment."""
        return self.settings.control_plane

    def version(self, kube: Kube) -> str:
        """The version of the control plane."""
        return deployment_version(kube, self.settings.control_plane)

    def problem(self, kube: Kube) -> str:
        """Whether the control plane is available, names the workloads, and has the services that routes are for."""
        fix = "run `kumactl install control-plane`, or name another one with --set control-plane=NAMESPACE/NAME"
        problem = deployment_problem(kube, self.settings.control_plane, "Kuma", fix)
        return problem or self._unnamed(kube) or self._without_services(kube)

    def _unnamed(self, kube: Kube) -> str:
        """Why workloads have no identities that this adapter knows of, "" where they have: without there is no mTLS."""
        place = self.settings.control_plane
        found = [one for one in kube.list("kuma.io/v1alpha1", "MeshIdentity", place.namespace) if self._names(one)]
        if found and not self.settings.by_identity:
            return (
                f"the MeshIdentity {found[0]['metadata']['name']} names the workloads, whose proxies then take no "
                f"permissions by service: give its trust domain, as in --set trust-domain={self.settings.domain}"
            )
        if found:
            return ""
        if self.settings.version == "3" and self._of_2(kube):
            return "the control plane is Kuma 2, whose Mesh may name the workloads: say --set version=2"
        if self.settings.by_identity:
            instead = "" if self.settings.version == "3" else ", or give no trust-domain"
            return f"Kuma gives no workload an identity: create a MeshIdentity in {place.namespace}{instead}"
        mesh = kube.get("kuma.io/v1alpha1", "Mesh", self.settings.mesh)
        if mesh is None or not mesh.get("spec", {}).get("mtls", {}).get("enabledBackend"):
            return f"Kuma gives no workload an identity: enable mtls in the Mesh {self.settings.mesh}"
        return ""

    def _without_services(self, kube: Kube) -> str:
        """Why no proxy knows a MeshService, which routes are for, "" where they do: of Kuma 3 every mesh has them.

        A mesh of Kuma 2 has them only if it says so, where they are for all proxies (`resolveVIPOutbounds` in Kuma's
        `pkg/xds/sync/dataplane_proxy_builder.go`), and gives identities only where there is nothing beside them.
        """
        if not self._of_2(kube):
            return ""
        mesh = kube.get("kuma.io/v1alpha1", "Mesh", self.settings.mesh) or {}
        mode = ((mesh.get("spec") or {}).get("meshServices") or {}).get("mode", "Disabled")
        if mode == "Exclusive" or (mode == "Everywhere" and not self.settings.by_identity):
            return ""
        why = "no MeshIdentity holds" if self.settings.by_identity else "no route of this suite holds"
        return (
            f"the Mesh {self.settings.mesh} has its meshServices in mode {mode}, with which {why}: set "
            "spec.meshServices.mode: Exclusive"
        )

    def _of_2(self, kube: Kube) -> bool:
        """Whether it is Kuma 2, as the user or its control plane says."""
        return self.settings.version == "2" or major(self.version(kube)) == "2"

    def _names(self, identity: Mapping[str, Any]) -> bool:
        """Whether a MeshIdentity is of this mesh and selects workloads: one without a selector only spreads trust."""
        labels = identity["metadata"].get("labels") or {}
        selector = (identity.get("spec") or {}).get("selector") or {}
        return labels.get("kuma.io/mesh", "default") == self.settings.mesh and selector.get("dataplane") is not None

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """The proxy's configuration and statistics, by way of the control plane: its own admin is a Unix socket."""
        place = self.settings.control_plane
        running = running_pods(kube, place.namespace, f"app={place.name}")
        if not running:
            return {}
        about = f"/meshes/{self.settings.mesh}/dataplanes/{pod}.{namespace}"
        pages = {name: f"{about}/{page}" for name, page in PAGES.items()}
        return dump_pages(kube, place.namespace, running[0], "", API_PORT, pages)
