"""A tiny API server over real HTTP: lists, watches with events on demand, errors on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class ApiServer:
    """Collections by path. `push` sends watch events; `cut` ends every watch; `failing` answers 500 to everything."""

    def __init__(self) -> None:
        self.items: dict[str, list[Any]] = {}
        self.missing: set[str] = set()
        self.broken_lists: set[tuple[str, str]] = set()
        """Pieces of lists, by path and where they begin, that are refused once."""
        self.failing = False
        self.expired: set[str] = set()
        self.watching = asyncio.Event()
        self.lists: list[tuple[str, str]] = []
        self.watches: list[tuple[str, str]] = []
        self.patches: list[tuple[str, Any]] = []
        self.queues: dict[str, list[asyncio.Queue[Any]]] = {}
        self.url = ""
        self.page_size = 0

    def push(self, path: str, kind: str, obj: Any) -> None:
        for queue in self.queues.get(path, []):
            queue.put_nowait({"type": kind, "object": obj})

    async def watched(self, path: str, times: int = 1) -> None:
        """Wait until somebody has asked to watch so often, and watches now."""
        async with asyncio.timeout(10):
            while sum(where == path for where, _ in self.watches) < times or not self.queues.get(path):
                self.watching.clear()
                await self.watching.wait()

    def cut(self) -> None:
        for queues in self.queues.values():
            for queue in queues:
                queue.put_nowait(None)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if self.failing:
            return web.json_response({"message": "etcd is away"}, status=500)
        if request.method == "PATCH":
            self.patches.append((path, json.loads(await request.text())))
            return web.json_response({})
        if path in self.missing:
            return web.Response(status=404, text="404 page not found\n")
        if request.query.get("watch"):
            return await self.watch(request, path)
        self.lists.append((path, request.query.get("continue", "")))
        if self.lists[-1] in self.broken_lists:
            self.broken_lists.discard(self.lists[-1])
            return web.json_response({"message": "too many requests"}, status=403)
        items, start = self.items.get(path, []), int(request.query.get("continue", "0"))
        chunk = items[start : start + self.page_size] if self.page_size else items
        more = str(start + len(chunk)) if start + len(chunk) < len(items) else ""
        return web.json_response({"metadata": {"resourceVersion": "100", "continue": more}, "items": chunk})

    async def watch(self, request: web.Request, path: str) -> web.StreamResponse:
        self.watches.append((path, request.query["resourceVersion"]))
        if path in self.expired:
            self.expired.discard(path)
            return web.json_response({"message": "too old"}, status=410)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.queues.setdefault(path, []).append(queue)
        self.watching.set()
        reply = web.StreamResponse()
        await reply.prepare(request)
        while (event := await queue.get()) is not None:
            await reply.write(json.dumps(event).encode() + b"\n")
        self.queues[path].remove(queue)
        return reply

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ApiServer]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            self.cut()
            await runner.cleanup()
