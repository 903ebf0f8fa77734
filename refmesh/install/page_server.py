"""The control plane's page on a port of this machine, with the access logs that the user may read in their places.

Logs are read when a page is looked at, with the user's own rights, and only those of the proxies of the pods that the
page names: the control plane may read nobody's logs, keeps none, and a page that nobody looks at costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from yarl import URL

from refmesh.dashboard.entries import Found, fill, wanted
from refmesh.dashboard.server import guard, start
from refmesh.errors import EnvironmentProblem
from refmesh.injector.policy import PROXY
from refmesh.install.redaction import clean_text
from refmesh.kubeclient import LOST, KubeError
from refmesh.telemetry.entries import is_foreign, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from refmesh.kubeclient import Kube
    from refmesh.telemetry.entries import Entry

__all__ = ["entries_of", "serving"]

_PAGE = re.compile(r"/(?:service/(?P<one>[a-z0-9-]{1,63})/[^/]+|log/(?P<all>[a-z0-9-]{1,63}))")
_LINES = 100
"""Of each pod. A line in a container's log has 16 KB at most: longer ones are several."""
_BYTES = 2 << 20
_AT_ONCE = 6
_LOG_SECONDS = 8.0
_PAGE_SECONDS = 15.0
_MOST_BYTES = 32 << 20


@contextlib.asynccontextmanager
async def serving(kube: Kube, inner: int, port: int) -> AsyncIterator[int]:
    """Serve on loopback what another port of it serves; yields the port. Raises `EnvironmentProblem` if it is taken."""
    limits = aiohttp.ClientTimeout(total=_PAGE_SECONDS)
    async with aiohttp.ClientSession(timeout=limits) as session:
        try:
            runner = await start(_application(kube, session, f"http://127.0.0.1:{inner}"), port)
        except OSError as error:
            raise EnvironmentProblem(
                f"The local port {port} cannot be opened: {error.strerror}.", fix="Choose another with --port."
            ) from error
        try:
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()


def _application(kube: Kube, session: aiohttp.ClientSession, origin: str) -> web.Application:
    async def relay(request: web.Request) -> web.Response:
        try:
            target = URL(origin + request.raw_path, encoded=True)
            async with session.get(target, allow_redirects=False) as reply:
                body = await reply.content.read(_MOST_BYTES)
                while not reply.content.at_eof() and len(body) < _MOST_BYTES:
                    body += await reply.content.read(_MOST_BYTES)
                status, kind = reply.status, reply.content_type
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise web.HTTPBadGateway(text=f"the control plane does not answer: {error}\n") from error
        text = body.decode("utf-8", "replace")
        place = _PAGE.fullmatch(request.path)
        if place is not None and kind == "text/html" and (room := wanted(text)) is not None:
            found = await entries_of(kube, place["one"] or place["all"], room.pods)
            text = fill(text, found, room.traces, "../../" if place["one"] else "../")
        return web.Response(text=text, content_type=kind, status=status)

    app = web.Application(middlewares=[guard])
    app.router.add_get("/{path:.*}", relay)
    return app


async def entries_of(kube: Kube, namespace: str, pods: Iterable[str]) -> Found:
    """The latest entries in the logs of these pods' proxies, as far as the user may read them."""
    room, problems = asyncio.Semaphore(_AT_ONCE), Counter[str]()
    entries: list[tuple[str, Entry]] = []
    foreign = 0

    async def look(pod: str) -> None:
        nonlocal foreign
        query = {"container": PROXY, "tailLines": str(_LINES), "limitBytes": str(_BYTES)}
        try:
            async with room, asyncio.timeout(_LOG_SECONDS):
                text = await kube.text(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query)
        except LOST as error:
            problems[_problem(error, namespace)] += 1
            return
        for line in text.split("\n"):
            entry = read(line)
            if entry is not None:
                entries.append((pod, replace(entry, path=clean_text(entry.path))))
            elif is_foreign(line):
                foreign += 1

    await asyncio.gather(*(look(pod) for pod in pods))
    entries.sort(key=lambda one: one[1].time, reverse=True)
    told = [why if count == 1 else f"{why} ({count} pods)" for why, count in problems.items()]
    return Found(entries, foreign, told)


def _problem(error: Exception, namespace: str) -> str:
    if isinstance(error, KubeError) and error.status == 403:
        return f"You may not read these logs: it takes the verb get on pods/log in namespace {namespace}."
    if isinstance(error, KubeError) and error.status == 404:
        return "A pod is gone."
    return f"A log cannot be read: {str(error) or type(error).__name__}"
