"""A few HTTP/1.1 requests on a blocking socket to Envoy's admin port. It imports little: each hook is a process."""

from __future__ import annotations

import contextlib
import socket
import time

from refmesh.agent.places import ADMIN_PORT, READY_PORT

__all__ = ["active_connections", "admin", "chunk_size", "exchange", "ready"]

_MAX_REPLY_BYTES = 64 << 20
# Of every port that is open to others, a gateway's too; not of each worker, nor of what a listener handed on.
_CONNECTIONS = "/stats?usedonly&filter=^listener%5C.0%5C.0%5C.0%5C.0_%5Cd%2B%5C.downstream_(pre_)%3Fcx_active$"


def exchange(connection: socket.socket, request: bytes, *, limit: int = _MAX_REPLY_BYTES) -> tuple[int, bytes]:
    """Send a request that closes its connection; return (status, body up to `limit`). Raises OSError, ValueError."""
    connection.sendall(request)
    reply = bytearray()
    while len(reply) < limit and (chunk := connection.recv(min(65536, limit - len(reply)))):
        reply += chunk
    head, _, body = bytes(reply).partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    code = parts[1][:3] if len(parts) > 1 and parts[0].startswith(b"HTTP/1.") else b""
    if not code.isdigit() or int(code) < 100:
        raise ValueError("the reply is not HTTP/1.1")
    if b"transfer-encoding: chunked" in head.lower():
        body = _unchunk(body)
    return int(code), body


def _unchunk(body: bytes) -> bytes:
    """Undo HTTP/1.1's chunking, which Envoy's admin port uses for its longer pages."""
    parts, at = list[bytes](), 0
    while (end := body.find(b"\r\n", at)) >= 0 and (size := chunk_size(body[at:end])):
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(parts)


def chunk_size(line: bytes) -> int:
    """The size that a chunk's first line gives. Raises ValueError, also for a sign, which would lead backwards."""
    digits = line.partition(b";")[0].strip()
    if not digits.isalnum():
        raise ValueError("a chunk without a size")
    return int(digits, 16)


def admin(method: str, path: str, *, timeout: float = 2.0) -> tuple[int, bytes]:
    """Ask Envoy's admin port. Raises OSError if Envoy is not there, ValueError if the reply is not HTTP."""
    with socket.create_connection(("127.0.0.1", ADMIN_PORT), timeout=timeout) as connection:
        request = f"{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return exchange(connection, request.encode())


def ready() -> bool:
    """Whether Envoy has its configuration and serves."""
    with contextlib.suppress(OSError, ValueError):
        return admin("GET", "/ready")[0] == 200
    return False


def active_connections() -> int:
    """Return how many connections of peers and of the application Envoy has open; 0 if it cannot be asked.

    Those of who asks whether it is ready do not count.
    """
    with contextlib.suppress(OSError, ValueError):
        _, body = admin("GET", _CONNECTIONS)
        own = f"_{READY_PORT}.".encode()
        return sum(int(line.rpartition(b":")[2]) for line in body.splitlines() if own not in line)
    return 0


def wait_ready(timeout: float, *, interval: float = 0.02) -> bool:
    """Wait until Envoy serves, looking every 20 ms: it is the last step before the application may start."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
