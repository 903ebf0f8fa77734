"""The current world, and everybody who wants to hear of the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from refmesh.config.model import Key
from refmesh.discovery.stream import ProxyState
from refmesh.discovery.world import World

__all__ = ["Hub"]


class Hub:
    """Holds the newest world for all streams."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._listeners: set[asyncio.Event] = set()
        self.streams: dict[Key, tuple[ProxyState, str]] = {}
        """Connected proxies, with the address they come from; for the debug page."""

    @property
    def world(self) -> World | None:
        """The newest world, None before the first."""
        return self._world

    def publish(self, world: World) -> None:
        """Replace the world and wake every stream."""
        self._world = world
        for event in self._listeners:
            event.set()

    def listen(self, event: asyncio.Event) -> Callable[[], None]:
        """Have an event set at each new world. Call the result to stop."""
        self._listeners.add(event)
        return lambda: self._listeners.discard(event)
