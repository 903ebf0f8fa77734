"""Who is in the mesh: the label `kuma.io/sidecar-injection`, and the permission that lets its pods speak at all."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import listed
from conformance.intents import Bypass, Inject, NoInject, Scope

from .base import KumaSettings, dataplanes, policy, render, spiffe, standing

LABEL = "kuma.io/sidecar-injection"
APP_PROTOCOLS = {"https": "tcp"}
"""Of a Service with a port of a protocol that Kuma does not know, none of the ports is in the mesh."""


@render.register
def _(intent: Inject, settings: KumaSettings) -> Rendered | Unsupported:
    """A workload's opt-in also allows everybody in the mesh: with mTLS, Kuma denies what no permission allows.

    The proxy shows its pod's own token to the control plane, and without one ends at once.
    """
    labels = {LABEL: "enabled", **({"kuma.io/mesh": settings.mesh} if settings.mesh != "default" else {})}
    # Since 2.11 the webhook is called for namespaces with the label only, whatever its value.
    looked_at = {LABEL: "disabled"} if intent.scope is Scope.POD else {}
    permission = (everybody(settings, intent.workload),) if intent.workload else ()
    return Rendered(
        labels=labels,
        objects=permission,
        namespace_labels=looked_at,
        needs_token=True,
        app_protocols=APP_PROTOCOLS,
    )


@render.register
def _(intent: NoInject, settings: KumaSettings) -> Rendered | Unsupported:
    return Rendered(labels={LABEL: "disabled"})


@render.register
def _(intent: Bypass, settings: KumaSettings) -> Rendered | Unsupported:
    return Rendered(annotations=listed("traffic.kuma.io/exclude-{}-ports", intent))


def everybody(settings: KumaSettings, workload: str) -> Manifest:
    """The permission, for the namespace that it is created in. An authorization check replaces it, by its name."""
    if settings.by_identity:
        spec: Manifest = {"rules": [{"default": {"allow": [spiffe(settings, "Prefix")]}}]}
    else:
        spec = {"from": [{"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}]}
    spec = {"targetRef": dataplanes(workload), **spec}
    made = policy(settings, "MeshTrafficPermission", standing(workload), "", spec)
    made["metadata"].pop("namespace")
    return made
