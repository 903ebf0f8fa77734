"""refmesh, the reference mesh: Istio's kinds and labels, and Gateway API routes where backends are services."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from conformance.intents import CertificateRequest, Intent
from fixtures.kube import ApiProblem, ForwardProblem, Kube

from . import istio_api
from .base import Authority, Rendered, Unsupported

__all__ = ["Refmesh"]

SYSTEM = "refmesh-system"
ADMIN_PORT = 15000
PROXY = "refmesh-proxy"
DUMPS = {"config_dump.json": "/config_dump", "clusters.txt": "/clusters?format=json", "stats.txt": "/stats?usedonly"}
_AUTHORITY = Authority(
    namespace=SYSTEM,
    selector="app=refmesh",
    port=15012,
    audience="istio-ca",
    server_name=f"refmesh.{SYSTEM}.svc",
    roots=(SYSTEM, "refmesh-ca-root-cert", "root-cert.pem"),
)


class Refmesh:
    """Renders intents for refmesh. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "refmesh"
    title = "refmesh, the reference mesh"

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent as refmesh's objects and labels."""
        if isinstance(intent, CertificateRequest):
            return Rendered(authority=_AUTHORITY)
        return istio_api.render(intent)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """SPIFFE by Istio's template, in the default trust domain."""
        return f"spiffe://cluster.local/ns/{namespace}/sa/{service_account}"

    def control_plane(self) -> tuple[str, str] | None:
        """One Deployment."""
        return SYSTEM, "refmesh"

    def version(self, kube: Kube) -> str:
        """The tag of the control plane's image."""
        deployment = kube.get("apps/v1", "Deployment", "refmesh", SYSTEM)
        if deployment is None:
            return ""
        labels = deployment["metadata"].get("labels", {})
        image = str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
        return str(labels.get("app.kubernetes.io/version") or image.rpartition(":")[2])

    def problem(self, kube: Kube) -> str:
        """Whether the control plane is there and available."""
        deployment = kube.get("apps/v1", "Deployment", "refmesh", SYSTEM)
        if deployment is None:
            return f"refmesh is not installed (no Deployment refmesh in {SYSTEM}): run `meshproof refmesh install`"
        if not deployment.get("status", {}).get("availableReplicas"):
            return f"refmesh's control plane in {SYSTEM} is not available"
        return ""

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """Envoy's configuration, clusters and statistics from its admin port on the pod's loopback."""
        from urllib.error import URLError
        from urllib.request import urlopen

        found: dict[str, str] = {}
        item = kube.get("v1", "Pod", pod, namespace) or {"spec": {}}
        if PROXY not in [one["name"] for one in item["spec"].get("initContainers", [])]:
            return found
        with contextlib.suppress(ApiProblem, ForwardProblem), kube.forward(namespace, pod, ADMIN_PORT) as (host, port):
            for name, path in DUMPS.items():
                try:
                    with urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
                        found[name] = answer.read().decode("utf-8", "replace")
                except (URLError, OSError) as error:
                    found[name] = f"not to be had: {error}"
        return found
