"""What the leader alone writes to the cluster: after each change that it is told of, again where that failed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

__all__ = ["LeaderWork"]

log = logging.getLogger(__name__)


class LeaderWork(ABC):
    """Work that is done whenever it is woken while this process `leads`, and every `look_seconds` if they are given."""

    def __init__(
        self, name: str, leads: Callable[[], bool], retry_seconds: float, look_seconds: float | None = None
    ) -> None:
        self._name, self._leads = name, leads
        self._retry_seconds, self._look_seconds = retry_seconds, look_seconds
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Look at everything again, because this process leads from now on, say."""
        self._wake.set()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    async def _work(self) -> bool:
        """Do it. False where something is left that is to be tried again."""

    def _follow(self) -> None:  # noqa: B027 - most have nothing to do
        """Another process leads: what this one has done says nothing any more."""

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._wake.wait()
            self._wake.clear()
            if not self._leads():
                self._follow()
            elif not await self._done():
                await asyncio.sleep(self._retry_seconds)
                self._wake.set()

    async def _done(self) -> bool:
        try:
            return await self._work()
        except Exception:
            # One object that nobody thought of must not end the work for all others for good.
            log.exception("%s: tried again in %g seconds", self._name, self._retry_seconds)
            return False
