"""`refmesh dashboard`: the control plane's page, or Prometheus', through the API server, on a port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING

from refmesh.dashboard.server import PORT
from refmesh.errors import EnvironmentProblem
from refmesh.install import prometheus
from refmesh.install.forward import forwarded
from refmesh.install.options import NAMESPACE
from refmesh.install.page_server import serving
from refmesh.install.serving import is_ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from refmesh.kubeclient import Kube

__all__ = ["Page", "show"]


class Page(StrEnum):
    """What can be shown in a browser."""

    MESH = "mesh"
    PROMETHEUS = "prometheus"


_FOUND = {
    Page.MESH: ("refmesh", PORT, "No pod of refmesh's control plane is ready.", "Run refmesh check."),
    Page.PROMETHEUS: (
        prometheus.APP,
        prometheus.PORT,
        "No Prometheus of refmesh's is ready.",
        "Run refmesh check, or install it with --set addons.prometheus=true.",
    ),
}
"""The label `app` of the pods that serve a page, their port, and what to say where none of them is ready."""


async def show(kube: Kube, page: Page, local: int, tell: Callable[[str], None]) -> None:
    """Forward the page until cancelled; `tell` gets its address. Raises `EnvironmentProblem` if none serves it."""
    app, port, problem, fix = _FOUND[page]
    for pod in await kube.list("v1", "pods", NAMESPACE, f"app={app}"):
        if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
            break
    else:
        raise EnvironmentProblem(problem, fix=fix)
    name = pod["metadata"]["name"]
    async with contextlib.AsyncExitStack() as stack:
        if page is Page.MESH:
            inner = await stack.enter_async_context(forwarded(kube, NAMESPACE, name, port))
            opened = await stack.enter_async_context(serving(kube, inner, local))
        else:
            opened = await stack.enter_async_context(forwarded(kube, NAMESPACE, name, port, local))
        tell(f"http://localhost:{opened}/")
        await asyncio.Event().wait()
