"""`GET :15020/stats/prometheus`: the proxy's metrics and, where the pod is annotated so, the application's after them.

No capture rule touches the port, so it can be scraped whatever mTLS mode is in force; it reveals counts, and takes no
orders. What is read is passed on piece by piece, with limits on time and size.
"""

from __future__ import annotations

import io
import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refmesh.agent.admin import chunk_size
from refmesh.agent.exposition import Translation, Workload
from refmesh.agent.settings import ADMIN_PORT, INBOUND_SOURCE, log
from refmesh.agent.statistics import OF_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedIOBase

    from _typeshed import WriteableBuffer

    from refmesh.agent.settings import Settings

__all__ = ["METRICS_PATH", "Scraper"]

METRICS_PATH = "/stats/prometheus"
_SECONDS = 8.0
"""Less than the ten seconds after which Prometheus gives up by default."""
_SILENT_SECONDS = 2.0
"""Until the first byte of an answer: who says nothing must not cost a scraper with five seconds the proxy's metrics."""
_MAX_BYTES = 32 << 20
_MAX_LINE = 1 << 20
_PIECE = 32 << 10
_MOST_HEADERS = 200
_CLUSTER = "|".join(OF_CLUSTERS).replace(".", "%5C.")
_FILTER = (
    rf"^(istio%5C.|cluster%5C..*%5C.({_CLUSTER})$|cluster_manager%5C.|listener_manager%5C.|control_plane%5C."
    r"|server%5C.(live|uptime|memory_allocated|memory_heap_size|total_connections|days_until_first_cert_expiring)$)"
)
_GRAPH_FILTER = r"^istio%5C.(requests_total|request_duration_milliseconds|tcp_connections_(opened|closed)_total)"
"""What the dashboard draws from: asked for by the query `graph`."""
_PAGE = "/stats/prometheus?usedonly&filter="


@dataclass(frozen=True)
class Scraper:
    """Gives all metrics of one pod."""

    own: Workload
    identity: str
    pod_ip: str
    app_port: int = 0
    app_path: str = ""
    not_after: Callable[[], float] = lambda: 0.0
    """When the certificate in force ends, epoch seconds; 0 before there is one."""
    admin_port: int = ADMIN_PORT
    source: str = INBOUND_SOURCE

    @classmethod
    def of(cls, settings: Settings, not_after: Callable[[], float]) -> Scraper:
        """The scraper for a pod. Raises ValueError for malformed settings."""
        app = json.loads(settings.app_metrics or "{}")
        if not isinstance(app, dict):
            raise ValueError("REFMESH_APP_METRICS is not a JSON object")  # noqa: TRY004  (a value's fault)
        own = Workload.parse(settings.peer) or Workload(settings.pod, settings.namespace)
        port, path = int(app.get("port", 0)), str(app.get("path", ""))
        return cls(own, settings.identity, settings.pod_ip, port, path, not_after)

    def send(self, connection: socket.socket, query: str = "") -> None:
        """Answer one request; for the query `graph` with the few metrics that a service graph is drawn from.

        Raises OSError when the caller goes away.
        """
        # In pieces, so that the caller can tell a scrape that broke off from a whole one.
        head = b"HTTP/1.1 200 .\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        try:
            pieces = _gathered(self._all(time.monotonic() + _SECONDS, graph=query == "graph"))
            first = next(pieces)
        except (OSError, ValueError) as error:
            log(f"no metrics: {error}")
            connection.sendall(b"HTTP/1.1 503 .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        connection.sendall(head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        while first:
            connection.sendall(b"%x\r\n%b\r\n" % (len(first), first))
            first = next(pieces, b"")
        connection.sendall(b"0\r\n\r\n")

    def _all(self, deadline: float, *, graph: bool) -> Iterator[str]:
        translation = Translation(self.own, self.identity)
        wanted = (_GRAPH_FILTER if graph else _FILTER).replace("|", "%7C").replace("^", "%5E")
        yield from translation.lines(_get(("127.0.0.1", self.admin_port), "", _PAGE + wanted, deadline))
        yield "# TYPE refmesh_agent_lost_samples gauge"
        yield f"refmesh_agent_lost_samples {translation.lost}"
        yield "# TYPE refmesh_agent_certificate_not_after_seconds gauge"
        yield f"refmesh_agent_certificate_not_after_seconds {self.not_after():.0f}"
        if graph or not self.app_port:
            return
        up = 1
        try:
            application = (self.pod_ip, self.app_port)
            for line in _get(application, self.source, self.app_path, deadline, silent=_SILENT_SECONDS):
                # The end marker of OpenMetrics would end the whole.
                if line != "# EOF":
                    yield line
        except (OSError, ValueError) as error:
            log(f"the application's metrics at port {self.app_port}: {error}")
            up = 0
        yield "# TYPE refmesh_agent_application_up gauge"
        yield f"refmesh_agent_application_up {up}"


def _get(
    address: tuple[str, int], source: str, path: str, deadline: float, *, silent: float = _SECONDS
) -> Iterator[str]:
    """The lines of a page, whose first byte comes within `silent` seconds. Raises OSError or ValueError."""
    bind = (source, 0) if source else None
    with socket.create_connection(address, timeout=silent, source_address=bind) as connection:
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode("ascii"))
        rest = b""
        for piece in _body(connection, deadline, silent):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _MAX_LINE:
                raise ValueError("a line is longer than a megabyte")
            for line in lines:
                yield line.decode("utf-8", "replace").rstrip("\r")
        if rest:
            yield rest.decode("utf-8", "replace")


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


def _body(connection: socket.socket, deadline: float, silent: float = _SECONDS) -> Iterator[bytes]:
    """The body of a reply, as it comes. Raises OSError or ValueError."""
    with io.BufferedReader(_Timed(connection, deadline, silent)) as reply:
        status = reply.readline(8192).split(b" ", 2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or status[1][:3] != b"200":
            raise ValueError(f"the answer was {b' '.join(status[:2])[:80]!r}")
        chunked, left = _framing(reply)
        total = 0
        for piece in _chunks(reply) if chunked else _plain(reply, left):
            total += len(piece)
            if total > _MAX_BYTES:
                raise ValueError(f"more than {_MAX_BYTES >> 20} MB")
            yield piece


def _framing(reply: BufferedIOBase) -> tuple[bool, int]:
    """Read the headers: whether a body in chunks follows, and its length, negative where none is given."""
    chunked, left = False, -1
    for _ in range(_MOST_HEADERS):
        line = reply.readline(8192).strip().lower()
        if not line:
            return chunked, left
        name, _, value = line.partition(b":")
        chunked = chunked or (name == b"transfer-encoding" and b"chunked" in value)
        if name == b"content-length":
            if not value.strip().isdigit():
                raise ValueError("the length of the answer is no number")
            left = int(value)
    raise ValueError(f"more than {_MOST_HEADERS} headers")


def _plain(reply: BufferedIOBase, left: int) -> Iterator[bytes]:
    """A body of `left` bytes, or for a negative number up to the connection's end."""
    while left and (piece := reply.read1(min(_PIECE, left) if left > 0 else _PIECE)):
        left -= len(piece) if left > 0 else 0
        yield piece
    if left > 0:
        raise ValueError("the reply broke off")


def _chunks(reply: BufferedIOBase) -> Iterator[bytes]:
    """A body in HTTP/1.1's chunks, which may be larger than what is held here at a time."""
    while left := chunk_size(reply.readline(1024)):
        while left:
            piece = reply.read1(min(_PIECE, left))
            if not piece:
                raise ValueError("the reply broke off")
            left -= len(piece)
            yield piece
        reply.readline(8)


def _gathered(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines in pieces worth a system call."""
    held, size = list[str](), 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE:
            yield ("\n".join(held) + "\n").encode()
            held, size = [], 0
    if held:
        yield ("\n".join(held) + "\n").encode()
