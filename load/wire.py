"""The smallest HTTP/1.1 client that can carry a measurement: one kept-alive connection, bytes prepared beforehand.

Why not locust's FastHttpUser: its session builds headers, cookies and response objects inside the timed span, which
costs ten times what a loopback round trip costs (numbers in benchmarks/load_overhead.py).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import gevent
from httptools import HttpParserError, HttpResponseParser

__all__ = ["Connection", "Reply", "RequestFailed", "Target"]


class RequestFailed(Exception):
    """No reply: `word` is refused, reset, timeout, eof, dns or protocol."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Target:
    """Where requests go and the bytes of each one; the name is resolved once, so that no lookup is ever timed."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as problem:
            raise RequestFailed("dns") from problem
        self.family, self.address = found[0][0], found[0][4]
        path = parts.path or "/"
        lines = [f"GET {path}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        if not any(name.lower() == "host" for name in headers):
            lines.append(f"Host: {parts.netloc}")
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        self.request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Reply:
    """Callbacks of the parser; one a response."""

    __slots__ = ("body", "complete", "keep")

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.complete = False
        self.keep = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Notice that the far side will close."""
        if name.lower() == b"connection" and value.lower() == b"close":
            self.keep = False

    def on_body(self, data: bytes) -> None:
        """Keep the body."""
        self.body.append(data)

    def on_message_complete(self) -> None:
        """The last byte has come."""
        self.complete = True


class Connection:
    """One connection to a target, opened when needed, reopened after an error."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def exchange(self) -> tuple[int, bytes]:
        """Send one request and read its reply: (status, body). Raises RequestFailed."""
        timer = gevent.Timeout.start_new(self._timeout)
        try:
            return self._exchange()
        except gevent.Timeout as fired:
            self.close()
            if fired is not timer:
                raise
            raise RequestFailed("timeout") from None
        except ConnectionRefusedError as problem:
            self.close()
            raise RequestFailed("refused") from problem
        except (ConnectionResetError, BrokenPipeError) as problem:
            self.close()
            raise RequestFailed("reset") from problem
        except HttpParserError as problem:
            self.close()
            raise RequestFailed("protocol") from problem
        except OSError as problem:
            self.close()
            raise RequestFailed("refused") from problem
        finally:
            timer.close()

    def _exchange(self) -> tuple[int, bytes]:
        connection = self._socket
        if connection is None:
            connection = socket.socket(self._target.family, socket.SOCK_STREAM)
            self._socket = connection
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect(self._target.address)
        reply = Reply()
        parser = HttpResponseParser(reply)
        connection.sendall(self._target.request)
        while not reply.complete:
            data = connection.recv(65536)
            if not data:
                self.close()
                raise RequestFailed("eof")
            parser.feed_data(data)
        if not (reply.keep and parser.should_keep_alive()):
            self.close()
        return parser.get_status_code(), b"".join(reply.body)

    def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
