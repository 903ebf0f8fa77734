"""Which of several replicas leads: the one that holds a Lease. All serve proxies; only the leader writes statuses.

The usual rules of Kubernetes: a leader renews every few seconds, others take over once the Lease was not renewed for
its whole duration by their own clock, and a leader that could not renew in time stops before anybody else can start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from refmesh.kubeclient import LOST, Conflict, Kube

__all__ = ["Leadership"]

log = logging.getLogger(__name__)

_API, _PLURAL = "coordination.k8s.io/v1", "leases"
_DURATION_SECONDS = 10
_RENEW_SECONDS = 2.0
_GIVE_UP_SECONDS = 7.0
"""A leader that has not renewed for so long no longer acts: well before its Lease ends for the others."""


class Leadership:
    """Takes part in the election until closed. `holder` is this process's name, unlike any other's."""

    def __init__(self, kube: Kube, namespace: str, name: str, holder: str) -> None:
        self._kube = kube
        self._namespace, self._name, self._holder = namespace, name, holder
        self._renewed = float("-inf")
        self._seen: tuple[Any, float] = (None, 0.0)
        self._task: asyncio.Task[None] | None = None

    def leads(self) -> bool:
        """Whether this process may act as the leader now."""
        return time.monotonic() - self._renewed < _GIVE_UP_SECONDS

    def start(self, gained: Callable[[], None]) -> None:
        """Begin to take part; `gained` is called each time that this process becomes the leader."""
        self._task = asyncio.create_task(self._run(gained), name="elect a leader")

    async def close(self) -> None:
        """Stop, and give the Lease up so that another replica need not wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.leads():
            self._renewed = float("-inf")
            try:
                lease = await self._kube.get(_API, _PLURAL, self._name, self._namespace)
                if lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self._holder:
                    lease["spec"]["holderIdentity"] = ""
                    await self._kube.replace(_API, _PLURAL, self._name, lease, self._namespace)
            except LOST as error:
                log.info("the Lease %s was not given up and will run out: %s", self._name, error)

    async def _run(self, gained: Callable[[], None]) -> None:
        while True:
            before = self.leads()
            try:
                await self._try()
            except LOST as error:
                log.info("the Lease %s could not be taken or renewed: %s", self._name, error)
            if self.leads() and not before:
                log.info("this replica writes statuses from now on")
                gained()
            await asyncio.sleep(_RENEW_SECONDS)

    async def _try(self) -> None:
        asked = time.monotonic()
        lease = await self._kube.get(_API, _PLURAL, self._name, self._namespace)
        try:
            if lease is None:
                await self._kube.create(_API, _PLURAL, self._lease(None), self._namespace)
            elif self._free(lease, asked):
                await self._kube.replace(_API, _PLURAL, self._name, self._lease(lease), self._namespace)
            else:
                return
        except Conflict:
            return  # another replica was quicker
        self._renewed = asked

    def _free(self, lease: dict[str, Any], now: float) -> bool:
        """Ours, nobody's, or not renewed for its whole duration as this process has seen."""
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") in {self._holder, "", None}:
            return True
        state = (spec.get("holderIdentity"), spec.get("renewTime"))
        if state != self._seen[0]:
            self._seen = (state, now)
        return now - self._seen[1] > int(spec.get("leaseDurationSeconds") or _DURATION_SECONDS)

    def _lease(self, old: dict[str, Any] | None) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (old or {}).get("spec") or {}
        same = before.get("holderIdentity") == self._holder
        metadata = {"name": self._name, "namespace": self._namespace}
        if old is not None:
            metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        return {
            "apiVersion": _API,
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": _DURATION_SECONDS,
                "renewTime": now,
                "acquireTime": before.get("acquireTime", now) if same else now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if same or old is None else 1),
            },
        }
