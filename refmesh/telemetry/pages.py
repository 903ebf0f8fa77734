"""Health and metrics of the control plane over plain HTTP inside the cluster; and debug pages, which are not for it.

Who asks over plain HTTP is not known, so that port tells numbers and takes nothing in. Debug pages belong on loopback.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["application", "debug", "start"]

_SHUTDOWN_SECONDS = 0.5


def application(ready: Callable[[], bool]) -> web.Application:
    """The web application of the cluster's port."""

    async def live(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readiness(_request: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not ready\n")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/live", live)
    app.router.add_get("/ready", readiness)
    app.router.add_get("/metrics", metrics)
    return app


def debug(shown: dict[str, Callable[[], Any]]) -> Iterable[web.RouteDef]:
    """Routes of debug pages: `/debug/NAME` gives what the function of that name returns, as JSON."""

    async def show(request: web.Request) -> web.Response:
        page = shown.get(request.match_info["page"])
        if page is None:
            raise web.HTTPNotFound(text=f"there is: {', '.join(sorted(shown))}\n")
        return web.json_response(page(), dumps=lambda value: json.dumps(value, indent=1, sort_keys=True))

    return [web.get("/debug/{page}", show)]


async def start(ready: Callable[[], bool], host: str, port: int) -> web.AppRunner:
    """Serve health and metrics; close the result with `cleanup`."""
    runner = web.AppRunner(application(ready), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
