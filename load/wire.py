"""The smallest HTTP/1.1 client that can carry a measurement: one kept-alive connection, bytes prepared beforehand.

Why not locust's FastHttpUser: its session builds headers, cookies and response objects inside the timed span
(numbers in benchmarks/load_overhead.py).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import monkey
from httptools import HttpParserError, HttpResponseParser

from fixtures.workloads.failures import error_of

__all__ = ["Connection", "Reply", "RequestFailed", "Target"]


_plain_socket: Any = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2


class _TimedOut(BaseException):
    """Thrown into the greenlet that waits too long; no handler between may take it for an error of its own."""


class RequestFailed(Exception):
    """No reply: `word` is one of `failures.ERRORS`."""

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
            raise RequestFailed(error_of(problem)) from problem
        self.family, self.address = found[0][0], found[0][4]
        path = parts.path or "/"
        lines = [f"GET {path}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        if not any(name.lower() == "host" for name in headers):
            lines.append(f"Host: {parts.netloc}")
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        self.request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Reply:
    """Callbacks of the parser; one a response."""

    __slots__ = ("body", "complete", "keep", "parser")

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.complete = False
        self.keep = True
        """Whether the far side lets the connection be used again."""
        self.parser = HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        """Keep the body."""
        self.body.append(data)

    def on_message_complete(self) -> None:
        """The last byte has come. The parser knows only until now whether the connection may be kept."""
        self.keep = self.parser.should_keep_alive()
        self.complete = True


class Connection:
    """One connection to a target, opened when needed, reopened after an error. Belongs to one greenlet.

    A plain socket with watchers made once, instead of gevent's socket and Timeout: those cost 30 to 90 µs a request
    where this was measured, as much as the loopback round trip itself (benchmarks/load_overhead.py).
    """

    def __init__(self, target: Target, timeout: float) -> None:
        self._target = target
        self._hub = gevent.get_hub()
        # `again` starts such a timer anew each time; `start` would go on with what was left when it was stopped.
        self._timer = self._hub.loop.timer(timeout, timeout)
        self._socket: Any = None
        self._readable: Any = None

    def exchange(self) -> tuple[int, bytes]:
        """Send one request and read its reply: (status, body). Raises RequestFailed."""
        self._timer.again(gevent.getcurrent().throw, _TimedOut, update=True)
        try:
            return self._exchange()
        except _TimedOut:
            self.close()
            raise RequestFailed("timeout") from None
        except HttpParserError as problem:
            self.close()
            raise RequestFailed("protocol") from problem
        except OSError as problem:
            self.close()
            raise RequestFailed(error_of(problem)) from problem
        finally:
            self._timer.stop()

    def _exchange(self) -> tuple[int, bytes]:
        connection = self._socket or self._connect()
        reply = Reply()
        self._send(connection, self._target.request)
        while not reply.complete:
            self._hub.wait(self._readable)
            data = connection.recv(65536)
            if not data:
                self.close()
                raise RequestFailed("eof")
            reply.parser.feed_data(data)
        if not reply.keep:
            self.close()
        status = reply.parser.get_status_code()
        del reply.parser  # the two refer to each other, and the driver runs without the garbage collector
        return status, b"".join(reply.body)

    def _connect(self) -> Any:
        connection = _plain_socket(self._target.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._readable = self._hub.loop.io(connection.fileno(), _READ)
        began = connection.connect_ex(self._target.address)
        if began not in (0, errno.EINPROGRESS):
            raise OSError(began, os.strerror(began))
        self._writable(connection)
        if failed := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(failed, os.strerror(failed))
        return connection

    def _send(self, connection: Any, data: bytes) -> None:
        while data:
            try:
                data = data[connection.send(data) :]
            except BlockingIOError:
                self._writable(connection)

    def _writable(self, connection: Any) -> None:
        watcher = self._hub.loop.io(connection.fileno(), _WRITE)
        try:
            self._hub.wait(watcher)
        finally:
            watcher.close()

    def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        if self._socket is not None:
            self._readable.stop()
            self._readable.close()
            self._socket.close()
            self._socket = None

    def release(self) -> None:
        """Close for good, the timer too."""
        self.close()
        self._timer.close()
