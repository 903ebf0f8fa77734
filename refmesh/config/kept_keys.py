"""Keeps the keys of token issuers beyond the life of this process: a restart while an issuer is away harms nobody.

They are public, and stand in a ConfigMap of the control plane's namespace. Only the leader writes; what is read is
believed no more than an issuer's own answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from refmesh.api.key_sets import usable_keys
from refmesh.config.jwks import wanted_addresses
from refmesh.config.leader_work import LeaderWork
from refmesh.config.model import Snapshot
from refmesh.kubeclient import LOST, Kube

__all__ = ["CONFIG_MAP", "KeptKeys"]

log = logging.getLogger(__name__)

CONFIG_MAP = "refmesh-jwks"
_DATA = "keys.json"
_MAX_BYTES = 512 << 10
"""The API server takes a megabyte."""
_LABELS = {"app.kubernetes.io/part-of": "refmesh"}
_RETRY_SECONDS = 10.0


class KeptKeys(LeaderWork):
    """The ConfigMap as this process knows it."""

    def __init__(self, kube: Kube, namespace: str, leads: Callable[[], bool]) -> None:
        super().__init__("keep keys of token issuers", leads, _RETRY_SECONDS)
        self._kube, self._namespace = kube, namespace
        self._known: Mapping[str, str] = {}
        self._wanted: frozenset[str] = frozenset()

    async def load(self) -> dict[str, str]:
        """The key sets by address that were kept; none where they cannot be read: they are fetched anyway."""
        try:
            return kept(await self._read())
        except LOST as error:
            log.warning("the keys of token issuers that were kept cannot be read: %s", error)
            return {}

    def offer(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot."""
        wanted = frozenset(wanted_addresses(snapshot))
        if (self._known, self._wanted) != (snapshot.jwks, wanted):
            self._known, self._wanted = snapshot.jwks, wanted
            self.wake()

    async def _work(self) -> bool:
        try:
            await self._write()
        except LOST as error:
            log.warning("the keys of token issuers are not kept yet: %s", error)
            return False
        return True

    async def _read(self) -> dict[str, Any] | None:
        return await self._kube.get("v1", "configmaps", CONFIG_MAP, self._namespace)

    async def _write(self) -> None:
        existing = await self._read()
        before = kept(existing)
        # What another replica had and this one has not fetched yet stays.
        found = {uri: keys for uri in self._wanted if (keys := self._known.get(uri) or before.get(uri))}
        chosen = fitting(found)
        if left := len(found) - len(chosen):
            log.warning("the keys of %d of %d token issuers are too long to be kept", left, len(found))
        if chosen == before:
            return
        metadata = (existing or {}).get("metadata") or {"name": CONFIG_MAP, "labels": _LABELS}
        text = json.dumps({uri: json.loads(keys) for uri, keys in chosen.items()}, sort_keys=True)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_DATA: text}}
        if existing is None:
            await self._kube.create("v1", "configmaps", body, self._namespace)
        else:
            await self._kube.replace("v1", "configmaps", CONFIG_MAP, body, self._namespace)


def kept(config_map: Mapping[str, Any] | None) -> dict[str, str]:
    """The usable key sets in a ConfigMap, by address; whatever else it says is left out."""
    try:
        found = json.loads(((config_map or {}).get("data") or {}).get(_DATA) or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    sets = ((uri, usable_keys(json.dumps(keys))) for uri, keys in found.items())
    return {uri: keys for uri, keys in sets if keys}


def fitting(found: Mapping[str, str]) -> dict[str, str]:
    """As many key sets as there is room for, the shortest first: one long one costs no other its place."""
    room, chosen = _MAX_BYTES, dict[str, str]()
    for uri, keys in sorted(found.items(), key=lambda item: (len(item[1]), item[0])):
        room -= len(uri) + len(keys) + 100
        if room >= 0:
            chosen[uri] = keys
    return chosen
