"""When an installed control plane serves: its hook is trusted, answers through its Service, and no older one does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from refmesh.errors import EnvironmentProblem
from refmesh.injector import policy
from refmesh.install import manifests
from refmesh.install.apply import wait_for, wait_gone
from refmesh.install.options import NAMESPACE
from refmesh.kubeclient import KubeError

if TYPE_CHECKING:
    from refmesh.kubeclient import Kube

__all__ = ["is_ready", "wait_until_serving"]

_POD_GONE_SECONDS = 30.0
_TRUSTED_SECONDS = 10.0
_ANSWERING_SECONDS = 20.0


async def wait_until_serving(kube: Kube) -> None:
    """Wait until pods that are created from now on are admitted by the new control plane.

    A Deployment that has rolled out is not enough: nodes learn of a Service's endpoints a moment later, and until then
    a pod's creation is refused, or answered by the control plane that is leaving. Raises `EnvironmentProblem`.
    """
    await wait_for(
        kube,
        manifests.webhooks(),
        lambda state: all(
            hook["clientConfig"].get("caBundle") for hook in state.get("webhooks", [{"clientConfig": {}}])
        ),
        timeout=_TRUSTED_SECONDS,
        what="The control plane did not enter its certificate into the webhook configuration",
    )
    leaving = [pod for pod in await kube.list("v1", "pods", NAMESPACE, "app=refmesh") if _leaving(pod)]
    await asyncio.gather(
        *(wait_gone(kube, {**pod, "apiVersion": "v1", "kind": "Pod"}, timeout=_POD_GONE_SECONDS) for pod in leaving)
    )
    await _admission_answers(kube)


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod takes part in its Service."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _leaving(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


async def _admission_answers(kube: Kube) -> None:
    """Ask for a pod in a dry run until the API server reaches the hook."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "refmesh-dry-run-", "labels": {policy.POD_LABEL: "true"}},
        "spec": {"containers": [{"name": "app", "image": "none"}]},
    }
    last = "no answer"
    patience = 0.3
    try:
        async with asyncio.timeout(_ANSWERING_SECONDS):
            while True:
                try:
                    # An attempt that began before the node knew the Service waits for TCP to try again after 1 and 3
                    # seconds; a fresh one gets through at once. Growing, so that a slow cluster is given its time.
                    async with asyncio.timeout(patience):
                        await kube.request("POST", "/api/v1/namespaces/default/pods", pod, query={"dryRun": "All"})
                except KubeError as error:
                    # Mutation comes first: a refusal by quota or pod security is an answer that came after the hook's.
                    if error.status < 500:
                        return
                    last = str(error)
                except TimeoutError:
                    patience *= 1.5
                    continue
                else:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise EnvironmentProblem(
            f"The injection webhook does not answer within {_ANSWERING_SECONDS:.0f} s: {last}",
            fix=f"The API server must reach the Service refmesh.{NAMESPACE}, port 15017.",
        ) from None
