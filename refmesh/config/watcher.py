"""Follows the API server and publishes one snapshot per batch of changes.

A dead API server, a cut watch or an expired version never empties anything: what was known stays known until the API
server itself says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp

from refmesh.config.model import Key, Snapshot, key_of
from refmesh.config.served import first_served
from refmesh.config.store import SOURCES, Source, Store
from refmesh.kubeclient import Expired, Kube, KubeError, NotServed
from refmesh.telemetry import metrics

__all__ = ["Watcher"]

log = logging.getLogger(__name__)

_DEBOUNCE_SECONDS = 0.02
_DEBOUNCE_LIMIT_SECONDS = 0.1
_ABSENT_KIND_SECONDS = 2.0
_BACKOFF_SECONDS = (0.1, 5.0)


class Watcher:
    """Keeps a `Store` current and calls `publish` with a new snapshot 20 to 100 ms after something changed."""

    def __init__(self, kube: Kube, store: Store, publish: Callable[[Snapshot], None]) -> None:
        self._kube = kube
        self._store = store
        self._publish = publish
        self._waiting = {source.name for source in SOURCES}
        self._synced = asyncio.Event()
        self._dirty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, listed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Begin watching; returns once every kind has been listed and the first snapshot is published.

        In between `listed` is awaited, which may put more into the store.
        """
        self._tasks = [asyncio.create_task(self._follow(source), name=f"watch {source.name}") for source in SOURCES]
        await self._synced.wait()
        if listed is not None:
            await listed()
        self._dirty.clear()
        self._publish(self._store.snapshot())
        self._tasks.append(asyncio.create_task(self._publish_batches(), name="publish snapshots"))

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def changed(self) -> None:
        """Publish again: something in the store changed that no watch reports."""
        self._dirty.set()

    async def _publish_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._dirty.wait()
            latest = loop.time() + _DEBOUNCE_LIMIT_SECONDS
            while self._dirty.is_set() and loop.time() < latest:
                self._dirty.clear()
                await asyncio.sleep(_DEBOUNCE_SECONDS)
            self._dirty.clear()
            self._publish(self._store.snapshot())

    def _note(self, source: Source, *, changed: bool) -> None:
        if source.name in self._waiting:
            self._waiting.discard(source.name)
            if not self._waiting:
                self._synced.set()
        if changed:
            self._dirty.set()

    async def _follow(self, source: Source) -> None:
        """List, then watch, for ever. Every way a watch can end leads back here, and none loses what is known."""
        served, version, delay = source.api_version, "", _BACKOFF_SECONDS[0]
        while True:
            try:
                if not version:
                    served, version = await self._list_served(source, served)
                async for event in self._kube.watch(served, source.plural, version):
                    version, delay = event.version or version, _BACKOFF_SECONDS[0]
                    if event.kind == "DELETED":
                        self._note(source, changed=self._store.drop(source.name, key_of(event.object)))
                    elif event.kind != "BOOKMARK":
                        self._note(source, changed=self._take(source, event.object))
                continue
            except Expired:
                version = ""
                continue
            except NotServed:
                if source.optional and not version:
                    self._note(source, changed=self._store.keep(source.name, frozenset()))
                    await asyncio.sleep(_ABSENT_KIND_SECONDS)
                    continue
                # The version that was watched may be gone, and not the kind: a list tells.
                version = "" if source.optional else version
                log.warning("the API server does not serve %s of %s", source.plural, served)
            except KubeError as error:
                # Also "too large resource version" after a restored etcd: a fresh list is always right.
                version = ""
                log.warning("the API server refused the watch of %s (%s)", source.plural, _short(error))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                log.warning("watch of %s was cut (%s); what is known stays in force", source.plural, _short(error))
            except Exception:
                # Whatever it is, nobody would notice a task that ended: its kind would stay as it is now for ever.
                version = ""
                log.exception("following %s failed; what is known stays in force", source.plural)
            metrics.WATCH_ERRORS.labels(source.name).inc()
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, _BACKOFF_SECONDS[1])

    async def _list_served(self, source: Source, before: str) -> tuple[str, str]:
        """List in the first version that is served. Gives it, and the resourceVersion to watch from."""
        served, version = await first_served(source.api_versions, partial(self._list, source))
        metrics.WATCH_LISTS.labels(source.name).inc()
        if served != before:
            log.warning("%s are read in %s from now on, as it is served", source.plural, served)
        return served, version

    async def _list(self, source: Source, api_version: str) -> tuple[str, str]:
        """Take in a list piece by piece: what is kept of ten thousand pods is a tenth of what is sent of them.

        What a piece says of an object is as true as what a watch would say of it; only at the end of the list is it
        known what is gone.
        """
        present, changed, version = set[Key](), False, ""
        async for page in self._kube.pages(api_version, source.plural):
            for obj in page.items:
                present.add(key_of(obj))
                changed |= self._take(source, obj)
                # One of the largest takes seconds to read, and whoever may write it may write hundreds.
                await asyncio.sleep(0)
            if changed:
                # Now, not at the end: where the list breaks off, the next one finds this known and says no more of it.
                self._dirty.set()
            version = page.version
        self._note(source, changed=self._store.keep(source.name, present) or changed)
        return api_version, version

    def _take(self, source: Source, obj: Any) -> bool:
        """Take in one object; one that nobody foresaw is passed over, and what was known of it stays in force."""
        try:
            return self._store.put(source.name, obj)
        except Exception:
            metrics.WATCH_ERRORS.labels(source.name).inc()
            log.exception("%s %s cannot be read; what was known of it stays in force", source.name, key_of(obj))
            return False


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
