"""A local port that leads to a port of a pod, through the API server, for as long as a command runs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp

from refmesh.errors import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from refmesh.kubeclient import Kube

__all__ = ["forwarded"]

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1


@contextlib.asynccontextmanager
async def forwarded(kube: Kube, namespace: str, pod: str, port: int, local: int = 0) -> AsyncIterator[int]:
    """Listen on loopback and yield the port; each connection goes to the pod. Raises `EnvironmentProblem`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with kube.port_stream(namespace, pod, port, _PROTOCOL) as socket:
                outward = asyncio.create_task(_outward(reader, socket))
                try:
                    await _inward(socket, writer)
                finally:
                    outward.cancel()
        except (aiohttp.ClientError, OSError):
            pass  # the browser sees a connection that closed, and asks again
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


async def _outward(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(65_536):
        await socket.send_bytes(bytes([_DATA]) + data)


async def _inward(socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    opened = set[int]()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, payload = message.data[0], message.data[1:]
        if channel not in opened:
            opened.add(channel)  # the first frame of a channel only repeats the port
            continue
        if channel == _ERROR:
            return
        writer.write(payload)
        await writer.drain()
