"""Waiting for a workload of refmesh's namespaces, and seeing at once that its pods cannot start."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from refmesh.errors import EnvironmentProblem
from refmesh.install.apply import wait_for
from refmesh.install.options import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from refmesh.kubeclient import Kube

__all__ = ["remove_stuck_pods", "unless_stuck", "wait_rolled_out"]

_T = TypeVar("_T")
Object = dict[str, Any]
_STUCK = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff"}


async def wait_rolled_out(kube: Kube, applied: Object, *, timeout: float, name: str, other: str) -> None:
    """Wait until the Deployment `applied`, as the API server returned it, runs.

    Raises `EnvironmentProblem`, which calls it `name`, and `other` the way to give it another image.
    """
    generation = applied["metadata"]["generation"]
    waiting = wait_for(
        kube,
        applied,
        lambda state: _rolled_out(state, generation),
        timeout=timeout,
        what=f"{name} did not become ready",
    )
    app = applied["spec"]["selector"]["matchLabels"]["app"]
    await unless_stuck(kube, waiting, app=app, name=name, other=other, namespace=NAMESPACE)


async def unless_stuck(
    kube: Kube, work: Coroutine[Any, Any, _T], *, app: str, name: str, other: str, namespace: str
) -> _T:
    """Wait for what waits for the pods of an app. Raises `EnvironmentProblem` as soon as one of them cannot start."""
    waiting = asyncio.create_task(work)
    failing = asyncio.create_task(_image_trouble(kube, app, name, other, namespace))
    done, pending = await asyncio.wait({waiting, failing}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    for task in done:
        task.result()
    return waiting.result()


async def remove_stuck_pods(kube: Kube, app: str, namespace: str = NAMESPACE) -> None:
    """Delete pods that an earlier attempt left waiting: the kubelet would look again only minutes later."""
    for name, _, _ in await _stuck_pods(kube, app, namespace):
        await kube.delete("v1", "pods", name, namespace)


def _rolled_out(state: Object, generation: int) -> bool:
    status = state.get("status") or {}
    wanted = (state.get("spec") or {}).get("replicas", 1)
    return (
        int(status.get("observedGeneration", 0)) >= generation
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) >= wanted
    )


async def _image_trouble(kube: Kube, app: str, name: str, other: str, namespace: str) -> NoReturn:
    """Watch for a pod that cannot get its image or cannot run: no need to wait for the time-out then."""
    while True:
        for pod, reason, image in await _stuck_pods(kube, app, namespace):
            if reason == "CrashLoopBackOff":
                raise EnvironmentProblem(
                    f"{name} ends as soon as it starts.",
                    fix=f"Read why: kubectl -n {namespace} logs {pod} --previous",
                )
            raise EnvironmentProblem(
                f"The image {image} is not on the node and cannot be pulled.",
                fix=f"Load it into the cluster first, or give another {other}.",
            )
        await asyncio.sleep(0.5)


async def _stuck_pods(kube: Kube, app: str, namespace: str) -> list[tuple[str, str, str]]:
    """Return (pod, reason, image) of pods that cannot start."""
    pods = await kube.list("v1", "pods", namespace, f"app={app}")
    return [
        (pod["metadata"]["name"], reason, str(container.get("image")))
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
        if (reason := ((container.get("state") or {}).get("waiting") or {}).get("reason", "")) in _STUCK
    ]
