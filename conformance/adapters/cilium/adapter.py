"""The adapter of Cilium."""

from __future__ import annotations

import json
from collections.abc import Mapping

from conformance.adapters.base import Proxy, Rendered, Unsupported
from conformance.adapters.installed import deployment_problem, deployment_version
from conformance.intents import Intent
from fixtures.kube import Kube

from .base import CiliumSettings, render
from .closed import shut

__all__ = ["Cilium", "CiliumSettings"]

HBONE_PORT = 15008
"""At which ztunnel takes the mesh's traffic to a pod."""


class Cilium:
    """Renders intents for Cilium. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "cilium"
    title = "Cilium Service Mesh (per node, no sidecar)"
    Settings = CiliumSettings

    def __init__(self, settings: CiliumSettings | None = None) -> None:
        self.settings = settings or CiliumSettings()
        # ztunnel runs on the node, and takes its HBONE connections inside of each pod's network namespace.
        self.proxy = Proxy("", inbound_port=HBONE_PORT) if self.settings.ztunnel else None

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent in Cilium's words."""
        return render(intent, self.settings)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:  # noqa: ARG002 - none is shown
        """No workload shows a certificate on its own ports."""
        return Unsupported("workloads are known by Cilium's own numbers; no certificate is shown on their ports")

    def control_plane(self) -> tuple[str, str] | None:
        """The operator: it turns routes into Envoy configuration."""
        return self.settings.control_plane

    def version(self, kube: Kube) -> str:
        """The version of the operator."""
        return deployment_version(kube, self.settings.control_plane)

    def problem(self, kube: Kube) -> str:
        """Whether the operator is available, looks at Gateway API routes, and lets in whom no policy keeps out."""
        fix = "run `cilium install`, or name its operator with --set control-plane=NAMESPACE/NAME"
        if problem := deployment_problem(kube, self.settings.control_plane, "Cilium", fix):
            return problem
        config = kube.get("v1", "ConfigMap", "cilium-config", self.settings.control_plane.namespace) or {}
        said = config.get("data", {})
        if said.get("enable-gateway-api") != "true":
            return "Cilium was installed without Gateway API support: set gatewayAPI.enabled=true and install it again"
        enforced = str(said.get("enable-policy", "")).lower()
        if enforced == "always":
            return (
                "Cilium was installed with policyEnforcementMode=always, by which nothing is let in or out that no "
                "policy allows, nothing of this suite's either: judge it with policyEnforcementMode=default"
            )
        if (said.get("enable-ztunnel") == "true") is not self.settings.ztunnel:
            runs = not self.settings.ztunnel
            return f"ztunnel {'runs' if runs else 'does not run'} in this Cilium: say --set ztunnel={str(runs).lower()}"
        return "" if enforced == "never" else shut(kube)

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:  # noqa: ARG002 - one Envoy a node
        """The Envoy configuration that Cilium made of the namespace's routes."""
        found = kube.list("cilium.io/v2", "CiliumEnvoyConfig", namespace)
        return {"envoy-configs.json": json.dumps(found, indent=1)} if found else {}
