"""A visitor without a pod: requests from the host to an address that a Gateway has."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass

__all__ = ["Page", "fetch", "fetch_secure"]

_SECONDS = 5.0


@dataclass(frozen=True)
class Page:
    """An answer; status 0 where none came."""

    status: int
    text: str


def fetch(address: str, path: str, port: int = 80, method: str = "GET") -> Page:
    """Ask over a connection of its own."""
    return _ask(http.client.HTTPConnection(address, port, timeout=_SECONDS), path, method)


def fetch_secure(address: str, host: str, path: str, root: str, port: int = 443) -> Page:
    """GET over TLS from a host of that name, trusting one root (PEM) only."""

    class Connection(http.client.HTTPSConnection):
        def connect(self) -> None:
            plain = socket.create_connection((address, port), timeout=_SECONDS)
            self.sock = context.wrap_socket(plain, server_hostname=host)

    context = ssl.create_default_context(cadata=root)
    return _ask(Connection(host, timeout=_SECONDS), path)


def _ask(connection: http.client.HTTPConnection, path: str, method: str = "GET") -> Page:
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return Page(reply.status, reply.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Page(0, f"{type(error).__name__}: {error}")
    finally:
        connection.close()
