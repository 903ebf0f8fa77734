"""Lists objects of a kind and watches them, for ever: what those do who need no more of it than that.

The control plane's own watcher (`refmesh.config.watcher`) also follows kinds that are not served yet, and counts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from refmesh.kubeclient import LOST, Expired, Kube, WatchEvent

__all__ = ["Watched", "follow"]


@dataclass(frozen=True)
class Watched:
    """Which objects, and what they are called in messages."""

    what: str
    plural: str
    """Of a core kind, version v1."""
    namespace: str | None = None
    selector: str = ""
    fields: str = ""


async def follow(
    kube: Kube,
    watched: Watched,
    listed: Callable[[], Awaitable[str]],
    changed: Callable[[WatchEvent], None],
    log: logging.Logger,
    *,
    backoff: tuple[float, float],
    version: str = "",
) -> None:
    """Have all objects `listed`, which gives the version to watch from, then every event but bookmarks `changed`.

    However a watch ends it goes on: from the last version where the API server ended it, else by a new list, after
    `backoff` (the first and the longest number of seconds, doubled by each failure in a row) where it was cut.
    """
    delay = backoff[0]
    while True:
        try:
            if not version:
                version = await listed()
            async for event in kube.watch(
                "v1", watched.plural, version, watched.namespace, selector=watched.selector, fields=watched.fields
            ):
                version, delay = event.version or version, backoff[0]
                if event.kind != "BOOKMARK":
                    changed(event)
        except Expired:
            version = ""
        except (*LOST, ValueError) as error:
            version = ""
            log.warning("the watch of %s was cut: %s: %s", watched.what, type(error).__name__, error)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, backoff[1])
