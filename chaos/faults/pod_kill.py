"""Kill one pod of a deployment without notice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from chaos.model import Cluster, Right, Undo
from reports.model import JSON

if TYPE_CHECKING:
    from fixtures.kube import Kube

__all__ = ["PodKill"]


@dataclass(frozen=True)
class PodKill:
    """Delete a pod with no grace. Its deployment brings another, so there is nothing to take back."""

    namespace: str
    pod: str
    ip: str
    service: str
    """A service that lists the pod's address."""
    name: ClassVar[str] = "pod-kill"
    about: ClassVar[str] = "one pod dies without notice"

    def available(self, kube: Kube) -> str:
        """Needs the pod, and its address among the service's endpoints."""
        if kube.get("v1", "Pod", self.pod, self.namespace) is None:
            return f"there is no pod {self.namespace}/{self.pod}"
        return "" if self.ip in self._addresses(kube) else f"{self.service} does not list {self.pod}"

    def plan(self, kube: Kube) -> Undo:  # noqa: ARG002 - nothing to look up
        """Nothing to take back, yet the log tells what was done."""
        return Undo(self.name, {"namespace": self.namespace, "pod": self.pod})

    def inject(self, kube: Kube) -> None:
        """Delete with grace 0."""
        kube.delete("v1", "Pod", self.pod, self.namespace, grace=0)

    def landed(self, kube: Kube) -> str:
        """The endpoint is gone: seen in the endpoint slices, which another controller writes."""
        return "" if self.ip in self._addresses(kube) else f"{self.ip} is no longer an endpoint of {self.service}"

    def rights(self) -> tuple[Right, ...]:
        """None."""
        return ()

    @staticmethod
    def undo(kube: Cluster, arguments: Mapping[str, JSON]) -> None:
        """Nothing: the deployment has its own repair."""

    def _addresses(self, kube: Kube) -> set[str]:
        slices = kube.list(
            "discovery.k8s.io/v1", "EndpointSlice", self.namespace, f"kubernetes.io/service-name={self.service}"
        )
        return {
            address
            for one in slices
            for endpoint in one.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready")
            for address in endpoint.get("addresses", ())
        }
