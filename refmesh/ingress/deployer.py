"""Keeps what Gateways need in the cluster: applied when a Gateway or the mesh's trust changes, or when it is missing.

Only the leader acts. Deleting is left to Kubernetes, by the objects' owner; except where a Gateway stays and wants
another workload, for its class is another, or none of refmesh's any more.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from refmesh.config.ingress import open_gateway, own_class, own_gateways
from refmesh.config.leader_work import LeaderWork
from refmesh.config.model import Key, Snapshot
from refmesh.ingress.names import GATEWAY_LABEL, workload_name
from refmesh.ingress.objects import CLASSIC, Object, classic_objects, gateway_objects, objects_of
from refmesh.injector.containers import Config
from refmesh.install.apply import MANAGED, apply, delete
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
        self._applied: dict[Key, tuple[str, float]] = {}
        """By workload: what was applied last, as text, and when."""
        self._looked: tuple[set[Key], float] = set(), -_LOOK_SECONDS
        """Which workloads there were when those that nobody wants were looked for last, and when."""

    def offer(self, snapshot: Snapshot) -> None:
        """A new snapshot."""
        self._snapshot = snapshot
        self.wake()

    def _follow(self) -> None:
        self._applied.clear()
        self._looked = set(), -_LOOK_SECONDS

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
            del self._applied[key]
        try:
            if not self._classic and (self._namespace, CLASSIC) in snapshot.services:
                await self._remove(self._namespace, CLASSIC)
            await self._remove_unwanted(snapshot)
        except LOST as error:
            complete = False
            log.warning("gateways that nobody wants are not deleted yet: %s", error)
        return complete

    def _wanted(self, snapshot: Snapshot, config: Config) -> Iterator[tuple[Key, list[Object]]]:
        """The objects of each workload; none: leave it as it is."""
        if self._classic:
            yield (self._namespace, CLASSIC), classic_objects(self._namespace, config)
        for gateway in own_gateways(snapshot):
            opened = open_gateway(snapshot, gateway)
            # While a Secret is being read it is not known which ports there are; and for one that is gone, no gateway
            # loses its address.
            pending = any(door.pending for door in opened.doors)
            yield (gateway.meta.namespace, workload_name(gateway)), [] if pending else gateway_objects(opened, config)

    async def _apply(self, snapshot: Snapshot, key: Key, wanted: list[Object]) -> None:
        text = json.dumps(wanted, sort_keys=True)
        known = self._applied.get(key)
        missing = bool(wanted) and key not in snapshot.services
        if known is not None and known[0] == text and not missing and time.monotonic() - known[1] < _LOOK_SECONDS:
            return
        for obj in wanted:
            await apply(self._kube, obj)
        if wanted:
            self._applied[key] = (text, time.monotonic())

    async def _remove_unwanted(self, snapshot: Snapshot) -> None:
        """Delete the workloads of Gateways that have another class now, whoever put them there."""
        now, present = time.monotonic(), set(self._applied)
        before, looked = self._looked
        if not snapshot.gateways or (present == before and now - looked < _LOOK_SECONDS):
            return
        for service in await self._kube.list("v1", "services", selector=f"{MANAGED}=refmesh,{GATEWAY_LABEL}"):
            namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
            if self._unwanted(snapshot, (namespace, name), service["metadata"].get("ownerReferences") or []):
                await self._remove(namespace, name)
        self._looked = present, now

    def _unwanted(self, snapshot: Snapshot, workload: Key, owners: list[dict[str, Any]]) -> bool:
        """Whether a Gateway that owns a workload is there and has another, or needs none of refmesh's."""
        for owner in owners:
            gateway = snapshot.gateways.get((workload[0], owner["name"]))
            if owner["kind"] == "Gateway" and gateway is not None and gateway.uid == owner["uid"]:
                if not own_class(snapshot, gateway.class_name):
                    return True
                other = (workload[0], workload_name(gateway))
                return other != workload and other in self._applied
        return False

    async def _remove(self, namespace: str, name: str) -> None:
        """Delete a workload, its Service last: it is found by that."""
        for obj in objects_of(namespace, name):
            await delete(self._kube, obj)
