"""Add-ons on the cluster: put there beside the control plane, waited for after it, taken away when no longer wanted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from refmesh.errors import EnvironmentProblem
from refmesh.install import prometheus
from refmesh.install.apply import apply, delete, is_mine
from refmesh.install.options import NAMESPACE, Options
from refmesh.install.rollout import remove_stuck_pods, wait_rolled_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from refmesh.kubeclient import Kube

__all__ = ["addon_objects", "cluster_wide", "deployed", "put", "wait"]

Object = dict[str, Any]


def addon_objects(options: Options) -> list[Object]:
    """The objects of the add-ons that are asked for."""
    return prometheus.objects(options) if options.addons_prometheus == "on" else []


def cluster_wide() -> list[Object]:
    """The objects that any add-on may have outside of refmesh's namespace, to be deleted by their names."""
    return [obj for obj in prometheus.objects(Options()) if "namespace" not in obj["metadata"]]


async def deployed(kube: Kube) -> Object | None:
    """Return the Deployment of Prometheus, or None where the add-on is not installed."""
    found = await kube.get("apps/v1", "deployments", prometheus.NAME, NAMESPACE)
    return found if found is not None and is_mine(found) else None


async def put(kube: Kube, options: Options, report: Callable[[str], None]) -> Object | None:
    """Apply what is asked for, and take away what is not; the Deployment to `wait` for, if there is one."""
    wanted = addon_objects(options)
    if not wanted:
        if await deployed(kube) is not None:
            await asyncio.gather(*(delete(kube, obj) for obj in prometheus.objects(options)))
            report("Prometheus taken away: --set addons.prometheus=true was not given")
        return None
    *others, deployment = wanted
    await asyncio.gather(remove_stuck_pods(kube, prometheus.APP), *(apply(kube, obj) for obj in others))
    return await apply(kube, deployment)


async def wait(kube: Kube, deployment: Object, timeout: float, report: Callable[[str], None]) -> None:
    """Wait until the add-on runs. Raises `EnvironmentProblem`, which tells that the mesh serves nevertheless."""
    try:
        await wait_rolled_out(
            kube, deployment, timeout=timeout, name="Prometheus", other="--set addons.prometheus.image"
        )
    except EnvironmentProblem as error:
        raise EnvironmentProblem(f"refmesh serves, without Prometheus: {error.problem}", fix=error.fix) from error
    report(f"Prometheus {deployment['spec']['template']['spec']['containers'][0]['image']}")
