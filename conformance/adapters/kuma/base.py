"""Kuma's dispatcher and settings, and how its policies name things."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any, Literal

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.settings import NamespacedName, Place, Settings
from conformance.adapters.words import NO_WORDS, manifest
from conformance.intents import Intent
from fixtures.workloads.manifests import PORTS

__all__ = ["KumaSettings", "dataplanes", "mesh_service", "policy", "render", "spiffe", "standing"]

NAMES = {port: name for name, port in PORTS.items()}
"""Kuma calls a port as its Service and its container do; only one without a name goes by its number."""


class KumaSettings(Settings):
    """How this Kuma was installed."""

    version: Literal["2", "3"] = "3"
    """2 means 2.10 or later with MeshServices in use; 3 takes identities from MeshIdentity only."""
    mesh: str = "default"
    zone: str = "default"
    control_plane: NamespacedName = Place("kuma-system", "kuma-control-plane")
    trust_domain: str = ""
    """Of MeshIdentity; "" is Kuma's own `<mesh>.<zone>.mesh.local`. Of Kuma 2 it also says that a MeshIdentity, which
    there is since 2.12, is what names the workloads: by Mesh.mtls they are named after services."""
    gateway_class: str = "kuma"
    """GatewayClass of the gateway that Kuma 2 has."""

    @property
    def domain(self) -> str:
        """The trust domain."""
        return self.trust_domain or f"{self.mesh}.{self.zone}.mesh.local"

    @property
    def by_identity(self) -> bool:
        """Whether a MeshIdentity names the workloads: their proxies then take permissions by SPIFFE ID, and no others.

        See `Apply` in Kuma's `pkg/plugins/policies/meshtrafficpermission/plugin/v1alpha1/plugin.go`.
        """
        return self.version == "3" or bool(self.trust_domain)


@singledispatch
def render(intent: Intent, settings: KumaSettings) -> Rendered | Unsupported:
    """The intent in Kuma's words."""
    return Unsupported(f"{NO_WORDS} {type(intent).__name__}")


def policy(settings: KumaSettings, kind: str, name: str, namespace: str, spec: Manifest) -> dict[str, Any]:
    """A policy of the mesh, kept in the namespace it is about."""
    made = manifest("kuma.io/v1alpha1", kind, name, namespace, spec)
    made["metadata"]["labels"] = {"kuma.io/mesh": settings.mesh}
    return made


def spiffe(settings: KumaSettings, kind: Literal["Exact", "Prefix"], path: str = "") -> dict[str, Any]:
    """Whom a permission is about, by identity: `path` begins with a slash; no path is everybody of the trust domain.

    A prefix too must be a whole SPIFFE ID, which ends with no slash.
    """
    return {"spiffeID": {"type": kind, "value": f"spiffe://{settings.domain}{path}"}}


def _section(port: int) -> Mapping[str, Any]:
    """One port of a target; 0 is all of it."""
    return {"sectionName": NAMES.get(port, str(port))} if port else {}


def mesh_service(settings: KumaSettings, namespace: str, name: str, port: int = 0) -> dict[str, Any]:
    """A Service as the target of a policy; Kuma 3 knows it by labels only. `port` 0 is all of its ports."""
    also = _section(port)
    if settings.version == "2":
        return {"kind": "MeshService", "name": name, "namespace": namespace, **also}
    labels = {"kuma.io/display-name": name, "k8s.kuma.io/namespace": namespace}
    return {"kind": "MeshService", "labels": labels, **also}


def standing(workload: str) -> str:
    """Name of the permission that every workload of a run starts with."""
    return f"{workload}-is-called"


def dataplanes(workload: str = "", port: int = 0) -> dict[str, Any]:
    """Whom a policy is for, in its own namespace: everybody, a workload, or one of its ports.

    A `Mesh` is that of the namespace then. Everybody's `Dataplane` would be no less specific than one with labels: of
    such policies the one whose name comes first in the alphabet wins. See `CompareByPolicyAttributes` in Kuma's
    `pkg/plugins/policies/core/rules/sort/sort.go`.
    """
    if not workload:
        return {"kind": "Mesh"}
    return {"kind": "Dataplane", "labels": {"app": workload}, **_section(port)}
