"""Scale a deployment to none, such as a mesh's control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from chaos.model import Cluster, Right, Undo
from reports.errors import EnvironmentProblem
from reports.model import JSON

if TYPE_CHECKING:
    from fixtures.kube import Kube

__all__ = ["ScaleToZero"]

_OVER = frozenset({"Succeeded", "Failed"})
"""Phases of pods that never run again, such as one that was evicted long ago."""


@dataclass(frozen=True)
class ScaleToZero:
    """Take all pods of a deployment away."""

    namespace: str
    deployment: str
    name: ClassVar[str] = "scale-to-zero"
    about: ClassVar[str] = "all pods of a deployment are taken away"

    def available(self, kube: Kube) -> str:
        """Needs the deployment, with at least one replica."""
        found = kube.get("apps/v1", "Deployment", self.deployment, self.namespace)
        if found is None:
            return f"there is no deployment {self.namespace}/{self.deployment}"
        return "" if found["spec"].get("replicas", 1) else f"{self.namespace}/{self.deployment} has no replicas"

    def plan(self, kube: Kube) -> Undo:
        """Remember how many replicas there were."""
        found = kube.get("apps/v1", "Deployment", self.deployment, self.namespace)
        if found is None:
            raise EnvironmentProblem(f"there is no deployment {self.namespace}/{self.deployment}")
        replicas = int(found["spec"].get("replicas", 1))
        return Undo(
            self.name, {"namespace": self.namespace, "deployment": self.deployment, "replicas": max(1, replicas)}
        )

    def inject(self, kube: Kube) -> None:
        """Set the scale to 0."""
        _scale(kube, self.namespace, self.deployment, 0)

    def landed(self, kube: Kube) -> str:
        """Nothing is wanted and no pod is left that runs or may come to: asked of the pods too, and not of the scale.

        A pod that waits to be scheduled counts: whoever put the replicas back has it run in a moment.
        """
        found = kube.get("apps/v1", "Deployment", self.deployment, self.namespace)
        if found is None or found["spec"].get("replicas", 1) != 0:
            return ""
        wanted = ",".join(f"{k}={v}" for k, v in found["spec"]["selector"].get("matchLabels", {}).items())
        pods = kube.list("v1", "Pod", self.namespace, wanted)
        left = [pod for pod in pods if pod.get("status", {}).get("phase") not in _OVER]
        return "" if left else f"no replica is wanted, and no pod with {wanted} is left in {self.namespace}"

    def rights(self) -> tuple[Right, ...]:
        """Scaling this one deployment, and looking whether it is there."""
        return (
            Right(self.namespace, "apps", ("deployments",), ("get",), (self.deployment,)),
            Right(self.namespace, "apps", ("deployments/scale",), ("get", "patch"), (self.deployment,)),
        )

    @staticmethod
    def undo(kube: Cluster, arguments: Mapping[str, JSON]) -> None:
        """Give it its replicas back; nothing to do when somebody has taken the deployment away."""
        namespace, deployment = str(arguments["namespace"]), str(arguments["deployment"])
        if kube.get("apps/v1", "Deployment", deployment, namespace) is not None:
            _scale(kube, namespace, deployment, int(str(arguments["replicas"])))


def _scale(kube: Cluster, namespace: str, deployment: str, replicas: int) -> None:
    kube.patch("apps/v1", "Deployment", deployment, {"spec": {"replicas": replicas}}, namespace, subresource="scale")
