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
    """Delete a pod with no grace. Its deployment brings another, so there is nothing to take back.

    The kubelet says SIGTERM even so, and waits for a second or two: only a program that ends at once then dies without
    notice. The scene's echo does.
    """

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
        return "" if self.listed(kube) else f"{self.service} does not list {self.pod}"

    def plan(self, kube: Kube) -> Undo:  # noqa: ARG002 - nothing to look up
        """Nothing to take back, yet the log tells what was done."""
        return Undo(self.name, {"namespace": self.namespace, "pod": self.pod})

    def inject(self, kube: Kube) -> None:
        """Delete with grace 0."""
        kube.delete("v1", "Pod", self.pod, self.namespace, grace=0)

    def landed(self, kube: Kube) -> str:
        """There is no such pod any more. When its endpoint goes is up to another controller, see `listed`."""
        return f"there is no pod {self.pod} any more" if kube.get("v1", "Pod", self.pod, self.namespace) is None else ""

    def rights(self) -> tuple[Right, ...]:
        """None."""
        return ()

    @staticmethod
    def undo(kube: Cluster, arguments: Mapping[str, JSON]) -> None:
        """Nothing: the deployment has its own repair."""

    def listed(self, kube: Kube) -> bool:
        """Whether the endpoint slices, which are all that a mesh knows of the pod, call its address ready."""
        slices = kube.list(
            "discovery.k8s.io/v1", "EndpointSlice", self.namespace, f"kubernetes.io/service-name={self.service}"
        )
        return any(
            self.ip in endpoint.get("addresses", ())
            for one in slices
            for endpoint in one.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready")
        )
