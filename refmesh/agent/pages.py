"""GET of a page of the application's, as the kubelet and Prometheus would: the agent asks in their place.

Redirects are followed on the same host, and a page ends where its length says: not every server closes the connection
when it is asked to. What is read is bounded in time, and by whoever reads in size.
"""

from __future__ import annotations

import contextlib
import io
import math
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refmesh.agent.admin import chunk_size
from refmesh.agent.places import AGENT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import BufferedIOBase

    from _typeshed import WriteableBuffer

__all__ = ["PIECE", "Place", "Reply", "get", "replied"]

PIECE = 32 << 10
_MOST_HEADERS = 200
_MOST_INTERIM = 10
_MOST_REDIRECTS = 10
_REDIRECTS = {301, 302, 303, 307, 308}
_WITHOUT_BODY = {101, 204, 304}


@dataclass(frozen=True)
class Place:
    """Where a page is."""

    host: str
    port: int
    path: str = "/"
    secure: bool = False

    @property
    def url(self) -> str:
        """The whole of it, as redirects may refer to it."""
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}{self.target}"

    @property
    def target(self) -> str:
        """The path as a request names it: with a slash before it, and nothing that would end the line."""
        path = self.path.partition("#")[0]
        path = path if path.startswith("/") else f"/{path}"
        return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}" for byte in path.encode())


@dataclass(frozen=True)
class Reply:
    """What came, up to its body, which is read while the connection is open."""

    status: int
    location: str
    body: Iterator[bytes]


@contextlib.contextmanager
def get(
    place: Place,
    headers: Sequence[tuple[str, str]],
    deadline: float,
    *,
    host: str = "",
    source: str = "",
    silent: float = math.inf,
) -> Iterator[Reply]:
    """Ask for a page, and for what it redirects to on the same host; a redirect to another host is the reply itself.

    `host`: what the request calls the host, if not by its address. `silent`: the seconds in which the first byte of
    each reply comes. Raises OSError or ValueError.
    """
    for _ in range(_MOST_REDIRECTS):
        with _asked(place, host, headers, deadline, source, silent) as reply:
            onward = _onward(place, reply)
            if onward is None:
                yield reply
                return
        place = onward
        if reply.location.lower().startswith(("http://", "https://")):
            host = ""  # as it is called there
    raise ValueError(f"stopped after {_MOST_REDIRECTS} redirects")


@contextlib.contextmanager
def _asked(
    place: Place, host: str, headers: Sequence[tuple[str, str]], deadline: float, source: str, silent: float
) -> Iterator[Reply]:
    limit = min(deadline - time.monotonic(), silent)
    if limit <= 0:
        raise TimeoutError("timed out")
    lines = [f"GET {place.target} HTTP/1.1", f"Host: {host or f'{place.host}:{place.port}'}"]
    lines += [f"{name}: {value}" for name, value in headers]
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
    bind = (source, 0) if source else None
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(
            socket.create_connection((place.host, place.port), timeout=limit, source_address=bind)
        )
        if place.secure:
            connection = stack.enter_context(_secured(connection))
        connection.sendall(request)
        yield stack.enter_context(replied(connection, deadline, silent))


def _secured(connection: socket.socket) -> socket.socket:
    import ssl  # 5 MB that only pods with https probes pay

    # As the kubelet does: a probe asks whether something answers, not who.
    return ssl._create_unverified_context().wrap_socket(connection)  # noqa: S323, SLF001


def _onward(place: Place, reply: Reply) -> Place | None:
    """Where a redirect leads to on the same host; None for every other reply. Raises ValueError for no address."""
    if reply.status not in _REDIRECTS or not reply.location:
        return None
    from urllib.parse import urljoin, urlsplit  # only pods that redirect pay for it

    there = urlsplit(urljoin(place.url, reply.location))
    secure = there.scheme == "https"
    port = there.port or (443 if secure else 80)
    # The agent does not ask itself: an application could lead it in circles.
    if there.scheme not in {"http", "https"} or there.hostname != place.host.lower() or port == AGENT_PORT:
        return None
    return Place(place.host, port, there._replace(scheme="", netloc="").geturl(), secure)


class _Timed(io.RawIOBase):
    """A connection that is read up to a moment, however little comes at a time, if it does not stay silent."""

    def __init__(self, connection: socket.socket, deadline: float, silent: float) -> None:
        self._connection, self._deadline, self._silent = connection, deadline, silent
        self._heard = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("it took too long")
        self._connection.settimeout(remaining if self._heard else min(remaining, self._silent))
        count = self._connection.recv_into(buffer)
        self._heard = True
        return count


@contextlib.contextmanager
def replied(connection: socket.socket, deadline: float, silent: float = math.inf) -> Iterator[Reply]:
    """The reply on a connection, as it comes. Raises OSError or ValueError."""
    with io.BufferedReader(_Timed(connection, deadline, silent)) as stream:
        for _ in range(_MOST_INTERIM):
            status = _status(stream.readline(8192))
            chunked, left, location = _framing(stream)
            # Before the reply there may be others, which only say that it is to come.
            if status >= 200 or status in _WITHOUT_BODY:
                body = _chunks(stream) if chunked else _plain(stream, 0 if status in _WITHOUT_BODY else left)
                yield Reply(status, location, body)
                return
    raise ValueError("no reply after all that were to come before it")


def _status(line: bytes) -> int:
    parts = line.split(b" ", 2)
    code = parts[1].strip()[:3] if len(parts) > 1 and parts[0].startswith(b"HTTP/1.") else b""
    if not code.isdigit() or int(code) < 100:
        raise ValueError(f"the answer was {b' '.join(parts[:2])[:80]!r}")
    return int(code)


def _framing(reply: BufferedIOBase) -> tuple[bool, int, str]:
    """Read the headers: whether a body in chunks follows, its length, negative where none is given, and Location."""
    chunked, left, location = False, -1, ""
    for _ in range(_MOST_HEADERS):
        line = reply.readline(8192).strip()
        if not line:
            return chunked, left, location
        name, _, value = (part.strip() for part in line.partition(b":"))
        name = name.lower()
        chunked = chunked or (name == b"transfer-encoding" and b"chunked" in value.lower())
        if name == b"location":
            location = value.decode("utf-8", "replace")
        if name == b"content-length":
            if not value.isdigit():
                raise ValueError("the length of the answer is no number")
            left = int(value)
    raise ValueError(f"more than {_MOST_HEADERS} headers")


def _plain(reply: BufferedIOBase, left: int) -> Iterator[bytes]:
    """A body of `left` bytes, or for a negative number up to the connection's end."""
    while left and (piece := reply.read1(min(PIECE, left) if left > 0 else PIECE)):
        left -= len(piece) if left > 0 else 0
        yield piece
    if left > 0:
        raise ValueError("the reply broke off")


def _chunks(reply: BufferedIOBase) -> Iterator[bytes]:
    """A body in HTTP/1.1's chunks, which may be larger than what is held here at a time."""
    while left := chunk_size(reply.readline(1024)):
        while left:
            piece = reply.read1(min(PIECE, left))
            if not piece:
                raise ValueError("the reply broke off")
            left -= len(piece)
            yield piece
        reply.readline(8)
