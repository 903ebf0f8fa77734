"""Pulls the proxies' metrics while somebody looks at the dashboard, and keeps the last minute of traffic.

Bounded on every side: so many pods at a time, so many bytes and seconds for each, one round at a time, and none at all
once nobody has asked for a while. What they say is read beside the loop, which serves all proxies meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import aiohttp

from refmesh.config.model import Key, Pod
from refmesh.telemetry.traffic import Cell, Edge, Flow, Reading, difference, edges, read

__all__ = ["Collector"]

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60.0
_ROUND_SECONDS = 5.0
_IDLE_SECONDS = 60.0
_AT_ONCE = 16
_POD_SECONDS = 3.0
_MAX_BYTES = 4 << 20
_LONGEST_REASON = 200
_PATH = "/stats/prometheus?graph"
_PORT = 15020


class Collector:
    """Scrapes the pods that `pods` gives. Start it in a loop; it sleeps until somebody asks."""

    def __init__(
        self, pods: Callable[[], Iterable[Pod]], *, port: int = _PORT, seconds: float = _ROUND_SECONDS
    ) -> None:
        self._pods = pods
        self._port = port
        self._seconds = seconds
        """Between two rounds."""
        self._last: dict[Key, Reading] = {}
        self._unread = set[Key]()
        """Pods that were there before the counting began, and whose counts up to then are not known yet."""
        self._parts: deque[tuple[float, Mapping[Flow, Cell]]] = deque()
        self._asked = asyncio.Event()
        self._asked_at = 0.0
        self._began = 0.0
        self._reading = asyncio.Lock()
        """One page at a time: several threads would leave the loop less of the processor."""
        self.unreachable: dict[Key, str] = {}
        """Pods whose metrics could not be read last time, and why."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work when asked."""
        self._task = asyncio.create_task(self._run(), name="collect metrics of proxies")

    def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()

    def edges(self) -> tuple[Edge, ...]:
        """The traffic of the last minute, as far as it is known; asking keeps the rounds going."""
        self._asked_at = time.monotonic()
        self._asked.set()
        window = min(WINDOW_SECONDS, self._asked_at - self._began) if self._began else WINDOW_SECONDS
        return edges((part for _, part in self._parts), max(window, _ROUND_SECONDS))

    @property
    def certificates(self) -> dict[Key, float]:
        """When each pod's certificate ends, epoch seconds."""
        return {key: reading.not_after for key, reading in self._last.items() if reading.not_after}

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._parts.clear()
            self._last.clear()
            # The first reading has everything since the pods began: it is only where differences start from.
            first = not await self._tried(first=True)
            self._began = time.monotonic()
            while time.monotonic() - self._asked_at < _IDLE_SECONDS:
                await asyncio.sleep(self._seconds)
                first = not await self._tried(first=first) and first
            self._asked.clear()
            self._began = 0.0

    async def _tried(self, *, first: bool) -> bool:
        """One round; whether it came to its end. Whatever is wrong with it, the next one is due."""
        try:
            await self.round(first=first)
        except Exception:
            log.exception("The proxies' metrics were not read: tried again in %g seconds", self._seconds)
            return False
        return True

    async def round(self, *, first: bool = False) -> None:
        """Read every pod once."""
        pods = [pod for pod in self._pods() if pod.meshed and pod.address]
        room = asyncio.Semaphore(_AT_ONCE)
        limits = aiohttp.ClientTimeout(total=_POD_SECONDS)
        self.unreachable = {}
        async with aiohttp.ClientSession(timeout=limits, connector=aiohttp.TCPConnector(force_close=True)) as session:
            readings = (self._read(session, room, pod, first=first) for pod in pods)
            # What nobody thought of is one pod's trouble as well.
            for pod, error in zip(pods, await asyncio.gather(*readings, return_exceptions=True), strict=True):
                if isinstance(error, Exception):
                    self.unreachable[pod.key] = type(error).__name__
                    log.error("the metrics of pod %s/%s", *pod.key, exc_info=error)
        alive = {pod.key for pod in pods}
        self._unread = set(self.unreachable) if first else self._unread & alive
        for key in self._last.keys() - alive:
            del self._last[key]
        horizon = time.monotonic() - WINDOW_SECONDS
        while self._parts and self._parts[0][0] < horizon:
            self._parts.popleft()

    async def _read(self, session: aiohttp.ClientSession, room: asyncio.Semaphore, pod: Pod, *, first: bool) -> None:
        async with room:
            try:
                # A pod is not to choose whom the control plane asks.
                async with session.get(f"http://{pod.address}:{self._port}{_PATH}", allow_redirects=False) as reply:
                    if reply.status != 200:
                        raise ValueError(f"the answer was {reply.status}")
                    body = await _limited(reply)
                # within the try: anything may answer at the port, and one page that is no good is no other's matter
                async with self._reading:
                    reading = await asyncio.to_thread(_told, body, pod.namespace)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self.unreachable[pod.key] = (str(error) or type(error).__name__)[:_LONGEST_REASON]
                return
        known = self._last.get(pod.key)
        self._last[pod.key] = reading
        if known is None and (first or pod.key in self._unread):
            # All that it has counted in its life: only where differences start from.
            self._unread.discard(pod.key)
            return
        part = difference(known.cells if known is not None else {}, reading.cells)
        if part:
            self._parts.append((time.monotonic(), part))


def _told(body: bytes, namespace: str) -> Reading:
    """What a pod says of the traffic that its namespace has a part in; of what is between others it knows nothing."""
    reading = read(body.decode("utf-8", "replace").splitlines())
    own = {flow: cell for flow, cell in reading.cells.items() if namespace in (flow.source[0], flow.destination[0])}
    return replace(reading, cells=own)


async def _limited(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in reply.content.iter_chunked(65_536):
        body += piece
        if len(body) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES >> 20} MB of metrics")
    return bytes(body)
