"""Keeps what Gateways need in the cluster: applied when a Gateway or the mesh's trust changes, or when it is missing.

Only the leader acts. Deleting is left to Kubernetes, by the objects' owner; except where a Gateway stays and wants
nothing any more.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator

from refmesh.config.ingress import open_gateway, own_gateways
from refmesh.config.leader_work import LeaderWork
from refmesh.config.model import Key, Snapshot
from refmesh.ingress.objects import CLASSIC, Object, classic_objects, gateway_objects
from refmesh.injector.containers import Config
from refmesh.install.apply import apply, delete
from refmesh.kubeclient import LOST, Kube

__all__ = ["Deployer"]

log = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0
_LOOK_SECONDS = 60.0
"""How often everything is applied again, against what others changed."""


class Deployer(LeaderWork):
    """Compares after every snapshot. `config` gives the image and the roots of the moment.

    `classic`: whether there is a workload for Istio's Gateways in `namespace`, the mesh's own.
    """

    def __init__(
        self,
        kube: Kube,
        config: Callable[[], Config],
        leads: Callable[[], bool],
        namespace: str,
        *,
        classic: bool = False,
    ) -> None:
        super().__init__("deploy gateways", leads, _RETRY_SECONDS, _LOOK_SECONDS)
        self._kube = kube
        self._config = config
        self._namespace, self._classic = namespace, classic
        self._snapshot: Snapshot | None = None
        self._applied: dict[Key, tuple[str, float, list[Object]]] = {}
        """By Gateway: what was applied last, as text and as objects, and when."""

    def offer(self, snapshot: Snapshot) -> None:
        """A new snapshot."""
        self._snapshot = snapshot
        self.wake()

    def _follow(self) -> None:
        self._applied.clear()

    async def _work(self) -> bool:
        snapshot, complete, present = self._snapshot, True, set[Key]()
        if snapshot is None:
            return True
        config = self._config()
        for key, wanted in self._wanted(snapshot, config):
            present.add(key)
            try:
                await self._apply(snapshot, key, wanted)
            except LOST as error:
                complete = False
                log.warning("the objects of gateway %s/%s are not applied yet: %s", *key, error)
        for key in self._applied.keys() - present:
            # Where the Gateway is still there, it has another class now.
            _, _, before = self._applied.pop(key)
            if key in snapshot.gateways:
                await self._remove(before)
        if not self._classic and (self._namespace, CLASSIC) in snapshot.services:
            await self._remove(classic_objects(self._namespace, config))
        return complete

    def _wanted(self, snapshot: Snapshot, config: Config) -> Iterator[tuple[Key, list[Object]]]:
        """The objects of each gateway; none: leave it as it is."""
        if self._classic:
            yield (self._namespace, CLASSIC), classic_objects(self._namespace, config)
        for gateway in own_gateways(snapshot):
            opened = open_gateway(snapshot, gateway)
            # While a Secret is being read it is not known which ports there are; and for one that is gone, no gateway
            # loses its address.
            pending = any(door.pending for door in opened.doors)
            yield (gateway.meta.namespace, gateway.meta.name), [] if pending else gateway_objects(opened, config)

    async def _apply(self, snapshot: Snapshot, key: Key, wanted: list[Object]) -> None:
        text = json.dumps(wanted, sort_keys=True)
        known = self._applied.get(key)
        missing = any(
            obj["kind"] == "Service" and (key[0], obj["metadata"]["name"]) not in snapshot.services for obj in wanted
        )
        if known is not None and known[0] == text and not missing and time.monotonic() - known[1] < _LOOK_SECONDS:
            return
        for obj in wanted:
            await apply(self._kube, obj)
        if wanted:
            self._applied[key] = (text, time.monotonic(), wanted)

    async def _remove(self, objects: list[Object]) -> None:
        for obj in objects:
            try:
                await delete(self._kube, obj)
            except LOST as error:
                log.warning("%s %s is not deleted: %s", obj["kind"], obj["metadata"]["name"], error)
