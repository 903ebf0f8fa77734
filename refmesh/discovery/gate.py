"""Who is let in at the discovery port: the identity that the CA signed must be that of the pod that is named."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc

from refmesh.ca.peer import peer_identity
from refmesh.config.model import Key, Pod
from refmesh.discovery.hub import Hub
from refmesh.discovery.settings import MeshSettings
from refmesh.telemetry import metrics

__all__ = ["Gate", "pod_of_node"]

log = logging.getLogger(__name__)

_UNKNOWN_POD_SECONDS = 5.0


def pod_of_node(node_id: str) -> Key | None:
    """Namespace and name of the pod in a node id `sidecar~<ip>~<pod>.<namespace>~<domain>`, or `router~…`."""
    parts = node_id.split("~")
    if len(parts) != 4:
        return None
    name, _, namespace = parts[2].rpartition(".")
    return (namespace, name) if name and namespace else None


def is_of(identity: str | None, wanted: str) -> bool:
    """Whether a certificate is that of the pod that its holder claims to be."""
    return identity == wanted


class Gate:
    """Compares what callers say of themselves with their certificates. `authenticate` is off in tests only."""

    def __init__(self, hub: Hub, settings: MeshSettings, *, authenticate: bool = True) -> None:
        self._hub, self._settings, self._authenticate = hub, settings, authenticate

    async def admit(self, node_id: str, context: Any) -> Pod:
        """The pod that a call is for; ends the call of anybody who is not that pod."""
        key = pod_of_node(node_id[:1024])
        if key is None:
            metrics.REFUSED.labels("node").inc()
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "node id is not sidecar~<ip>~<pod>.<namespace>~<domain>"
            )
        assert key is not None  # noqa: S101 - abort raises; the type checker cannot know
        pod = await self._find(key)
        if pod is None:
            metrics.REFUSED.labels("pod").inc()
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no pod {key[0]}/{key[1]}")
        assert pod is not None  # noqa: S101 - as above
        identity = peer_identity(context) if self._authenticate else None
        if self._authenticate and not is_of(identity, self._settings.identity(pod.namespace, pod.service_account)):
            metrics.REFUSED.labels("identity").inc()
            log.warning("refused %s, which claims to be pod %s/%s", identity or "a peer without identity", *key)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the certificate is not this pod's")
        return pod

    async def _find(self, key: Key) -> Pod | None:
        """The pod; a proxy can be quicker than the watch, so an unknown one is waited for a moment."""
        wake = asyncio.Event()
        stop_listening = self._hub.listen(wake)
        try:
            async with asyncio.timeout(_UNKNOWN_POD_SECONDS):
                while True:
                    wake.clear()
                    world = self._hub.world
                    pod = world.snapshot.pods.get(key) if world is not None else None
                    if pod is not None and not pod.on_node:
                        return pod
                    await wake.wait()
        except TimeoutError:
            return None
        finally:
            stop_listening()
