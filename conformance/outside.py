"""Whether a client that is to be outside of the mesh is so. Reads only."""

from __future__ import annotations

from conformance.adapters import Adapter
from conformance.adapters.pages import has_container
from fixtures.kube import Kube
from reports.errors import EnvironmentProblem

__all__ = ["expect_outside"]


def expect_outside(kube: Kube, adapter: Adapter, namespace: str, pod: str) -> None:
    """`EnvironmentProblem` where somebody has taken the pod into the mesh: what it is served then proves nothing."""
    if adapter.proxy is not None and has_container(kube, namespace, pod, adapter.proxy.container):
        raise EnvironmentProblem(
            f"the pod {namespace}/{pod} is to be outside of the mesh, and has its proxy",
            fix="see what opts in namespaces that do not ask for it, such as a policy for all of them",
        )
