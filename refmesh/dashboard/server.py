"""Serves the dashboard on the control plane's loopback, where nobody but a port-forward can reach it.

Who may forward ports of the control plane's pod is the API server's decision; the page needs no password of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from refmesh.dashboard import page
from refmesh.dashboard.logging import NOBODY, Logging
from refmesh.dashboard.traces import trace_page
from refmesh.dashboard.view import View
from refmesh.telemetry.traces import Traces

__all__ = ["PORT", "application", "guard", "start"]

PORT = 15016
_TRACES = 200
"""Of the latest, those that entries of an access log may lead to; the first of them are listed."""
_NAME = 253
_HEADERS = {
    # Nothing from elsewhere runs in the page, whatever a name in the cluster may look like.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOCAL = {"localhost", "127.0.0.1", "[::1]"}


@web.middleware
async def guard(request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
    """Refuse other names for this address: a web page that resolves its own name to loopback must not read this one."""
    if request.host.rpartition(":")[0] not in _LOCAL and request.host not in _LOCAL:
        raise web.HTTPForbidden(text="ask for localhost\n")
    response = await handler(request)  # type: ignore[misc]  # the type of handlers is aiohttp's own alias
    response.headers.update(_HEADERS)
    return response  # type: ignore[no-any-return]


def application(
    view: Callable[[], View], traces: Traces, logging: Callable[[str, str], Logging] = lambda _space, _name: NOBODY
) -> web.Application:
    """The application; `view` gives the mesh as it is now, `traces` keeps the latest.

    `logging` tells what is logged of a service, by namespace and name, and of a namespace where the name is empty.
    """

    async def overview(request: web.Request) -> web.Response:
        text = page.overview(view(), request.query.get("namespace", "")[:_NAME], traces.recent(_TRACES))
        return web.Response(text=text, content_type="text/html")

    async def service(request: web.Request) -> web.Response:
        node = (request.match_info["namespace"][:_NAME], request.match_info["name"][:_NAME])
        latest = traces.recent(_TRACES, f"{node[1]}.{node[0]}")
        return web.Response(text=page.service(view(), node, latest, logging(*node)), content_type="text/html")

    async def log(request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"][:_NAME]
        text = page.log(view(), namespace, traces.recent(_TRACES), logging(namespace, ""))
        return web.Response(text=text, content_type="text/html")

    async def trace(request: web.Request) -> web.Response:
        name = request.match_info["name"][:64]
        found = traces.get(name)
        text = trace_page(found, name, view().now)
        return web.Response(text=text, content_type="text/html", status=404 if found is None else 200)

    app = web.Application(middlewares=[guard])
    app.router.add_get("/", overview)
    app.router.add_get("/trace/{name}", trace)
    app.router.add_get("/service/{namespace}/{name}", service)
    app.router.add_get("/log/{namespace}", log)
    return app


async def start(app: web.Application, port: int = PORT) -> web.AppRunner:
    """Serve on loopback; close the result with `cleanup`. Raises OSError where the port is taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner
