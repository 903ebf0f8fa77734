"""Security: `MeshTLS`."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import by_itself
from conformance.intents import MeshMtlsMode, Mode, MtlsMode, MutualTls

from .base import KumaSettings, dataplanes, policy, render

by_itself(render, MutualTls)

__all__ = ["mode"]

MODES = {Mode.STRICT: "Strict", Mode.PERMISSIVE: "Permissive"}


@render.register
def _(intent: MtlsMode, settings: KumaSettings) -> Rendered | Unsupported:
    if intent.ports and not intent.workload:
        return Unsupported("port-level modes need a workload")
    name = intent.workload or "mtls"
    objects = [mode(settings, intent.namespace, name, dataplanes(intent.workload), intent.mode)]
    for port, wanted in intent.ports.items():
        target = dataplanes(intent.workload, port)
        objects.append(mode(settings, intent.namespace, f"{name}-{port}", target, wanted))
    return Rendered(objects=tuple(objects))


@render.register
def _(intent: MeshMtlsMode, settings: KumaSettings) -> Rendered | Unsupported:
    """A policy in the namespace of the control plane is for the whole mesh.

    There a zone of a global control plane takes only what says that it is the zone's own (`validateLabels` in Kuma's
    `pkg/plugins/runtime/k8s/webhooks/resourceadmissionchecker.go`); to any other it says nothing new.
    """
    made = mode(settings, settings.control_plane.namespace, "meshproof", {"kind": "Mesh"}, intent.mode)
    labels = {**made["metadata"]["labels"], "kuma.io/origin": "zone"}
    return Rendered(objects=({**made, "metadata": {**made["metadata"], "labels": labels}},))


def mode(settings: KumaSettings, namespace: str, name: str, target: Manifest, wanted: Mode) -> Manifest:
    """Which traffic a target takes."""
    spec = {"targetRef": dict(target), "rules": [{"default": {"mode": MODES[wanted]}}]}
    return policy(settings, "MeshTLS", name, namespace, spec)
