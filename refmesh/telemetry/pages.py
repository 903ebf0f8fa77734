"""Health, metrics and debug pages of the control plane, over plain HTTP inside the cluster."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["Pages", "start"]

_SHUTDOWN_SECONDS = 0.5


class Pages:
    """What the pages show: readiness, and named functions that give JSON."""

    def __init__(
        self,
        ready: Callable[[], bool],
        debug: dict[str, Callable[[], Any]],
        generation: Callable[[int, str], Awaitable[tuple[int, float]]] | None = None,
    ) -> None:
        self._ready = ready
        self._debug = debug
        self._generation = generation

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application()
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._readiness)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/debug/{page}", self._show)
        app.router.add_get("/ca/generation", self._hint)
        return app

    async def _hint(self, request: web.Request) -> web.Response:
        """The number of the present trust, once it is above the caller's; and over how many seconds to act on it."""
        known = request.query.get("known", "0")
        if self._generation is None or not known.isdecimal() or len(known) > 18:
            raise web.HTTPNotFound(text="ask with ?known=NUMBER once the control plane is ready\n")
        generation, spread = await self._generation(int(known), request.remote or "")
        return web.Response(text=f"{generation} {spread:.3f}\n")

    async def _live(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        ready = self._ready()
        return web.Response(status=200 if ready else 503, text="ready\n" if ready else "not ready\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _show(self, request: web.Request) -> web.Response:
        page = self._debug.get(request.match_info["page"])
        if page is None:
            raise web.HTTPNotFound(text=f"there is: {', '.join(sorted(self._debug))}\n")
        return web.json_response(page(), dumps=lambda value: json.dumps(value, indent=1, sort_keys=True))


async def start(pages: Pages, host: str, port: int) -> web.AppRunner:
    """Serve the pages; close the result with `cleanup`."""
    # Agents wait here for the next change of trust: the end of the control plane does not wait for them.
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
