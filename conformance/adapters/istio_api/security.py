"""Security: `PeerAuthentication`."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import by_itself
from conformance.intents import Mode, MtlsMode, MutualTls

from .base import manifest, render

by_itself(render, MutualTls)


@render.register
def _(intent: MtlsMode) -> Rendered | Unsupported:
    if intent.ports and not intent.workload:
        return Unsupported("port-level mTLS modes need a workload")
    spec: dict[str, Any] = {"mtls": {"mode": intent.mode.upper()}}
    if intent.workload:
        spec["selector"] = {"matchLabels": {"app": intent.workload}}
    if intent.ports:
        spec["portLevelMtls"] = {str(port): {"mode": mode.upper()} for port, mode in intent.ports.items()}
    name = intent.workload or "default"
    return Rendered(objects=(_policy(name, intent.namespace, spec),))


def mesh_mode(root: str, mode: Mode) -> Rendered:
    """The mode of the whole mesh, by a policy in its root namespace. Its name is not the usual one of a user's own."""
    return Rendered(objects=(_policy("meshproof", root, {"mtls": {"mode": mode.upper()}}),))


def _policy(name: str, namespace: str, spec: dict[str, Any]) -> Manifest:
    return manifest("security.istio.io/v1", "PeerAuthentication", name, namespace, spec)
