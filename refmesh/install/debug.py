"""The debug pages of the control plane's replicas: on their loopback, so by forwarded ports of their pods."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from refmesh.dashboard.server import PORT
from refmesh.errors import EnvironmentProblem, UsageProblem
from refmesh.install.forward import forwarded
from refmesh.install.options import NAMESPACE

if TYPE_CHECKING:
    from refmesh.kubeclient import Kube

__all__ = ["ask_replicas", "debug_pages"]

_SECONDS = 20.0


async def debug_pages(kube: Kube, name: str) -> list[Any]:
    """The page of this name from each replica that answers. Raises as `ask_replicas` does."""
    told, _ = await ask_replicas(kube, name)
    return told


async def ask_replicas(kube: Kube, name: str) -> tuple[list[Any], int]:
    """The page of this name from each replica that answers, and how many do not, but for those that are being deleted.

    Raises `UsageProblem` where there is no replica, `EnvironmentProblem` where not one answers.
    """
    found = await kube.list("v1", "pods", NAMESPACE, selector="app=refmesh")
    running = [pod["metadata"] for pod in found if (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        raise UsageProblem("refmesh is not installed on this cluster, or not running.", fix="Run refmesh install.")
    answers = await asyncio.gather(*(_page(kube, pod["name"], name) for pod in running), return_exceptions=True)
    told = [answer for answer in answers if not isinstance(answer, BaseException)]
    for answer in answers:
        if isinstance(answer, BaseException) and (not told or not isinstance(answer, EnvironmentProblem)):
            raise answer
    silent = [
        pod
        for pod, answer in zip(running, answers, strict=True)
        if isinstance(answer, BaseException) and "deletionTimestamp" not in pod
    ]
    return told, len(silent)


async def _page(kube: Kube, pod: str, name: str) -> Any:
    """One replica's page. Raises `EnvironmentProblem` that says why there is none."""
    reasons: list[str] = []
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with forwarded(kube, NAMESPACE, pod, PORT, failed=reasons.append) as local:
        try:
            # A forwarded connection ends with its answer.
            async with aiohttp.ClientSession(timeout=timeout, headers={"Connection": "close"}) as session:
                async with session.get(f"http://127.0.0.1:{local}/debug/{name}") as answer:
                    answer.raise_for_status()
                    return json.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            why = next(iter(reasons), str(error) or f"no answer within {_SECONDS:g} s")
            raise EnvironmentProblem(
                f"Pod {NAMESPACE}/{pod} does not show its {name}: {why}.",
                fix=f"It takes get and create on pods/portforward in namespace {NAMESPACE}.",
            ) from error
