"""Serves the dashboard on the control plane's loopback, where nobody but a port-forward can reach it.

Who may forward ports of the control plane's pod is the API server's decision; the page needs no password of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import web

from refmesh.dashboard import page
from refmesh.dashboard.traces import trace_page
from refmesh.dashboard.view import View
from refmesh.telemetry.traces import Traces

__all__ = ["PORT", "application", "start"]

PORT = 15016
_LATEST = 40
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
async def _guard(request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
    """Refuse other names for this address: a web page that resolves its own name to loopback must not read this one."""
    if request.host.rpartition(":")[0] not in _LOCAL and request.host not in _LOCAL:
        raise web.HTTPForbidden(text="ask for localhost\n")
    response = await handler(request)  # type: ignore[misc]  # the type of handlers is aiohttp's own alias
    response.headers.update(_HEADERS)
    return response  # type: ignore[no-any-return]


def application(view: Callable[[], View], traces: Traces) -> web.Application:
    """The application; `view` gives the mesh as it is now, `traces` keeps the latest."""

    async def overview(request: web.Request) -> web.Response:
        text = page.overview(view(), request.query.get("namespace", "")[:253], traces.recent(_LATEST))
        return web.Response(text=text, content_type="text/html")

    async def service(request: web.Request) -> web.Response:
        node = (request.match_info["namespace"][:253], request.match_info["name"][:253])
        latest = traces.recent(_LATEST, f"{node[1]}.{node[0]}")
        return web.Response(text=page.service(view(), node, latest), content_type="text/html")

    async def trace(request: web.Request) -> web.Response:
        name = request.match_info["name"][:64]
        found = traces.get(name)
        text = trace_page(found, name, view().now)
        return web.Response(text=text, content_type="text/html", status=404 if found is None else 200)

    app = web.Application(middlewares=[_guard])
    app.router.add_get("/", overview)
    app.router.add_get("/trace/{name}", trace)
    app.router.add_get("/service/{namespace}/{name}", service)
    return app


async def start(
    view: Callable[[], View], traces: Traces, port: int = PORT, more: Iterable[web.RouteDef] = ()
) -> web.AppRunner:
    """Serve on loopback, with more routes beside the page's own; close the result with `cleanup`."""
    app = application(view, traces)
    app.add_routes(more)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner
