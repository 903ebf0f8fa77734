"""Follows the ConfigMap of the injector's templates. Whatever becomes of it, pods go on being injected."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refmesh.following import Watched, follow
from refmesh.injector.templates import CONFIG_MAP, FILE, NONE, Templates, of_config_map
from refmesh.kubeclient import LOST

if TYPE_CHECKING:
    from refmesh.kubeclient import Kube, WatchEvent

__all__ = ["Following"]

log = logging.getLogger(__name__)

_FIELDS = f"metadata.name={CONFIG_MAP}"
_RETRY_SECONDS = 5.0


class Following:
    """Keeps `templates` as the ConfigMap has them; the last that could be read where it cannot be read at all."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self.templates: Templates = NONE
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read once and go on in a task. Raises nothing: without templates pods are injected nevertheless."""
        version = ""
        try:
            version = await self._list()
        except (*LOST, ValueError) as error:
            log.warning("the injector's templates cannot be read: %s", error)
            self._unreadable(str(error))
        self._task = asyncio.create_task(self._follow(version), name="injector-templates")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def take(self, config_map: dict[str, Any] | None) -> None:
        """Take in the ConfigMap as it is now, None where there is none."""
        found = of_config_map(config_map)
        for sentence in found.sentences:
            log.warning("ConfigMap %s: %s", CONFIG_MAP, sentence)
        if FILE in found.bad:
            self._unreadable(found.bad[FILE])
        else:
            self.templates = found

    def _unreadable(self, why: str) -> None:
        """Keep what there is, and have pods told."""
        self.templates = replace(self.templates, bad={**self.templates.bad, FILE: why})

    async def _list(self) -> str:
        page = await self._kube.page("v1", "configmaps", self._namespace, fields=_FIELDS)
        self.take(page.items[0] if page.items else None)
        return page.version

    def _changed(self, event: WatchEvent) -> None:
        self.take(None if event.kind == "DELETED" else event.object)

    async def _follow(self, version: str) -> None:
        watched = Watched("the injector's templates", "configmaps", self._namespace, fields=_FIELDS)
        backoff = (_RETRY_SECONDS, _RETRY_SECONDS)
        await follow(self._kube, watched, self._list, self._changed, log, backoff=backoff, version=version)
