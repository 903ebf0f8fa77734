"""A real HTTP server that plays the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from refmesh.kubeclient import Kube

__all__ = ["client_of"]


@asynccontextmanager
async def client_of(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Kube]:
    """A client whose every request `handle` answers."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        kube = Kube(str(server.make_url("/")), None)
        yield kube
        await kube.close()
