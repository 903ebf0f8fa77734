"""No mesh at all: the negative control. Checks run on plain Kubernetes, and no mesh check may pass."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.intents import Intent
from fixtures.kube import Kube

from .base import Rendered, Unsupported

__all__ = ["NoMesh"]


class NoMesh:
    """Every intent renders to nothing, as if the user had asked and nobody had listened."""

    name = "none"
    title = "no mesh (negative control: not one mesh check may pass)"
    proxy = None

    def render(self, intent: Intent) -> Rendered | Unsupported:  # noqa: ARG002 - nothing is done whatever is asked
        """Nothing."""
        return Rendered()

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """What a mesh would promise by SPIFFE's usual template; without a mesh nobody keeps it."""
        return f"spiffe://cluster.local/ns/{namespace}/sa/{service_account}"

    def control_plane(self) -> tuple[str, str] | None:
        """None."""
        return None

    def version(self, kube: Kube) -> str:
        """The version of the plain cluster."""
        return f"Kubernetes {kube.version}"

    def problem(self, kube: Kube) -> str:  # noqa: ARG002 - there is nothing to look for
        """Always fit to be judged."""
        return ""

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:  # noqa: ARG002 - no proxy
        """No proxy, nothing to dump."""
        return {}
