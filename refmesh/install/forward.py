"""A local port that leads to a port of a pod, through the API server, for as long as a command runs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp

from refmesh.errors import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from refmesh.kubeclient import Kube

__all__ = ["forwarded"]

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1


def _nobody(_why: str) -> None:
    """A browser sees a connection that closed, and asks again."""


@contextlib.asynccontextmanager
async def forwarded(
    kube: Kube, namespace: str, pod: str, port: int, local: int = 0, failed: Callable[[str], None] = _nobody
) -> AsyncIterator[int]:
    """Listen on loopback and yield the port; each connection goes to the pod. Raises `EnvironmentProblem`.

    `failed` is told why a connection came to nothing: the client only sees that it was closed.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with kube.port_stream(namespace, pod, port, _PROTOCOL) as socket:
                outward = asyncio.create_task(_outward(reader, socket))
                try:
                    await _inward(socket, writer, failed)
                finally:
                    outward.cancel()
        except (aiohttp.ClientError, OSError) as error:
            failed(_why(error))
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, "127.0.0.1", local)
    except OSError as error:
        raise EnvironmentProblem(
            f"The local port {local} cannot be opened: {error.strerror}.", fix="Choose another with --port."
        ) from error
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"the API server answered {error.status}"
    return str(error)


async def _outward(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(65_536):
        await socket.send_bytes(bytes([_DATA]) + data)


async def _inward(
    socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter, failed: Callable[[str], None]
) -> None:
    opened = set[int]()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, payload = message.data[0], message.data[1:]
        if channel not in opened:
            opened.add(channel)  # the first frame of a channel only repeats the port
            continue
        if channel == _ERROR:
            failed(payload.decode(errors="replace").strip())
            return
        writer.write(payload)
        await writer.drain()
