"""What keeps refmesh from being installed on a cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest

from refmesh.errors import EnvironmentProblem
from refmesh.install import installer
from refmesh.kubeclient import Kube


class Cluster:
    """A cluster whose own Service has addresses of these families."""

    def __init__(self, *families: str, hooks: tuple[str, ...] = ()) -> None:
        self.families, self.hooks = list(families), hooks

    async def request(self, *_: str) -> dict[str, Any]:
        return {"gitVersion": "v1.37.2"}

    async def list(self, *_: str) -> list[dict[str, Any]]:
        return [{"metadata": {"name": name}} for name in self.hooks]

    async def get(self, *_: str) -> dict[str, Any] | None:
        return {"spec": {"ipFamilies": self.families}} if self.families else None


async def preflight(cluster: Cluster) -> str:
    return await installer.preflight(cast("Kube", cluster))


@pytest.mark.parametrize("families", [(), ("IPv4",), ("IPv4", "IPv6")])
async def test_a_cluster_that_speaks_ipv4_will_do(families: tuple[str, ...]) -> None:
    assert await preflight(Cluster(*families)) == "v1.37.2"


async def test_a_cluster_of_ipv6_is_refused_before_anything_is_made() -> None:
    with pytest.raises(EnvironmentProblem, match="speak IPv4 alone"):
        await preflight(Cluster("IPv6"))


async def test_istio_is_not_installed_beside() -> None:
    with pytest.raises(EnvironmentProblem, match="Istio is installed"):
        await preflight(Cluster("IPv4", hooks=("istio-sidecar-injector-canary",)))
