"""The adapter of Kuma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.adapters.base import Proxy, Rendered, Unsupported
from conformance.adapters.installed import deployment_problem, deployment_version, major, running_pods
from conformance.adapters.pages import dump_pages
from conformance.intents import Intent
from fixtures.kube import ApiProblem, Kube

from .base import KumaSettings, render

__all__ = ["Kuma", "KumaSettings"]

API_PORT = 5681
PATH = "/ns/{{.Namespace}}/sa/{{.ServiceAccount}}"
"""How a MeshIdentity that says nothing names workloads on Kubernetes, and this suite all of them."""
OWN = "Bundled"
"""The type of a MeshIdentity whose certificates the control plane signs."""
LABELS = {'label"k8s.kuma.io/namespace"': ".Namespace", 'label"k8s.kuma.io/service-account"': ".ServiceAccount"}
"""The same by labels of a Dataplane, without spaces."""
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
            return self._named_otherwise(found) or self._of_another_domain(kube, found)
        if self.settings.version == "3" and self._of_2(kube):
            return "the control plane is Kuma 2, whose Mesh may name the workloads: say --set version=2"
        if self.settings.by_identity:
            instead = "" if self.settings.version == "3" else ", or give no trust-domain"
            return f"Kuma gives no workload an identity: create a MeshIdentity in {place.namespace}{instead}"
        mesh = kube.get("kuma.io/v1alpha1", "Mesh", self.settings.mesh)
        if mesh is None or not mesh.get("spec", {}).get("mtls", {}).get("enabledBackend"):
            return f"Kuma gives no workload an identity: enable mtls in the Mesh {self.settings.mesh}"
        return ""

    def _named_otherwise(self, identities: Sequence[Mapping[str, Any]]) -> str:
        """Which path the workloads of a run are named by instead of the usual one, "" where by that.

        Of several identities for all workloads the first by name holds (`BestMatched` in Kuma's
        `pkg/core/resources/apis/meshidentity/api/v1alpha1/helpers.go`).
        """
        of_all = [one for one in identities if not one["spec"]["selector"]["dataplane"].get("matchLabels")]
        if not of_all:
            return ""
        one = min(of_all, key=lambda one: str(one["metadata"]["name"]))
        path = str((one["spec"].get("spiffeID") or {}).get("path") or PATH)
        said = path.replace(" ", "")
        for label, field in LABELS.items():
            said = said.replace(label, field)
        if said == PATH:
            return ""
        return (
            f"the MeshIdentity {one['metadata']['name']} names workloads by the path {path}, and neither permissions "
            f"nor identities of this suite are about those: judge a mesh that names them by {PATH}"
        )

    def _of_another_domain(self, kube: Kube, identities: Sequence[Mapping[str, Any]]) -> str:
        """Which trust domain was meant instead of the one that was said or is usual, "" where nobody can tell.

        A MeshTrust holds the authority of each, also of another zone's, but not of who signs outside of Kuma, as SPIRE.
        """
        providers = {(one["spec"].get("provider") or {}).get("type", OWN) for one in identities}
        if providers != {OWN}:
            return ""
        place = self.settings.control_plane
        try:
            trusts = kube.list("kuma.io/v1alpha1", "MeshTrust", place.namespace)
        except ApiProblem:  # who may not look is told by requests that are denied
            return ""
        known = {str(one["spec"].get("trustDomain") or "") for one in trusts if self._ours(one)} - {""}
        if not known or self.settings.domain in known:
            return ""
        return (
            f"no workload of the Mesh {self.settings.mesh} is of the trust domain {self.settings.domain}: it has "
            f"{', '.join(sorted(known))}, of which say that of the workloads, as in --set trust-domain={min(known)}"
        )

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
        selector = (identity.get("spec") or {}).get("selector") or {}
        return self._ours(identity) and selector.get("dataplane") is not None

    def _ours(self, item: Mapping[str, Any]) -> bool:
        """Whether an object is of this mesh."""
        labels = item["metadata"].get("labels") or {}
        return bool(labels.get("kuma.io/mesh", "default") == self.settings.mesh)

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """The proxy's configuration and statistics, by way of the control plane: its own admin is a Unix socket."""
        place = self.settings.control_plane
        running = running_pods(kube, place.namespace, f"app={place.name}")
        if not running:
            return {}
        about = f"/meshes/{self.settings.mesh}/dataplanes/{pod}.{namespace}"
        pages = {name: f"{about}/{page}" for name, page in PAGES.items()}
        return dump_pages(kube, place.namespace, running[0], "", API_PORT, pages)
