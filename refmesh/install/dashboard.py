"""`refmesh dashboard`: the control plane's page, through the API server, on a port of this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from refmesh.dashboard.server import PORT
from refmesh.errors import EnvironmentProblem
from refmesh.install.forward import forwarded
from refmesh.install.options import NAMESPACE
from refmesh.install.serving import is_ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from refmesh.kubeclient import Kube

__all__ = ["control_plane_pod", "show"]


async def control_plane_pod(kube: Kube) -> str:
    """A Ready pod of the control plane. Raises `EnvironmentProblem` if there is none."""
    for pod in await kube.list("v1", "pods", NAMESPACE, "app=refmesh"):
        if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
            return str(pod["metadata"]["name"])
    raise EnvironmentProblem("No pod of refmesh's control plane is ready.", fix="Run refmesh check.")


async def show(kube: Kube, local: int, tell: Callable[[str], None]) -> None:
    """Forward the page until cancelled; `tell` gets its address."""
    pod = await control_plane_pod(kube)
    async with forwarded(kube, NAMESPACE, pod, PORT, local) as port:
        tell(f"http://localhost:{port}/")
        await asyncio.Event().wait()
