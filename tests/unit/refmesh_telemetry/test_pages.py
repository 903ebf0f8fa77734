"""The control plane's pages."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp

from refmesh.telemetry import pages


async def test_the_end_does_not_wait_for_those_who_wait_for_news() -> None:
    asked = asyncio.Event()

    async def never(_known: int, address: str) -> tuple[int, float]:
        assert address == "127.0.0.1", "who asks is told by the connection, not by the question"
        asked.set()
        await asyncio.Event().wait()
        return 0, 0.0

    runner = await pages.start(pages.Pages(lambda: True, {}, never), "127.0.0.1", 0)
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            with contextlib.suppress(aiohttp.ClientError):
                await session.get(f"http://127.0.0.1:{port}/ca/generation?known=0&pod=a/b")

        waiting = asyncio.create_task(ask())
        await asked.wait()
        begun = time.monotonic()
        async with asyncio.timeout(20):
            await runner.cleanup()
            await waiting
    # An agent's question lasts up to 55 seconds.
    assert time.monotonic() - begun < 10
