"""`GET :15020/stats/prometheus`: the proxy's metrics and, where the pod is annotated so, the application's after them.

No capture rule touches the port, so it can be scraped whatever mTLS mode is in force; it reveals counts, and takes no
orders. What is read is passed on piece by piece, with limits on time and size.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refmesh.agent.exposition import Translation, Workload
from refmesh.agent.pages import PIECE, Place, get
from refmesh.agent.places import ADMIN_PORT, INBOUND_SOURCE
from refmesh.agent.settings import log
from refmesh.agent.statistics import OF_CLUSTERS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from refmesh.agent.pages import Reply
    from refmesh.agent.settings import Settings

__all__ = ["METRICS_PATH", "PATIENCE_HEADER", "Scraper"]

METRICS_PATH = "/stats/prometheus"
PATIENCE_HEADER = "x-prometheus-scrape-timeout-seconds"
"""In how many seconds the scraper gives up, by its own word."""
_SECONDS = 8.0
"""Less than the ten seconds after which Prometheus gives up by default."""
_SILENT_SECONDS = 2.0
"""Until the first byte of an answer, where the scraper's patience is not known: who says nothing must not cost one with
five seconds the proxy's metrics."""
_MARGIN_SECONDS = 0.5
"""For the way of what was read to the scraper."""
_MOST_SECONDS = 15.0
"""Anybody may say so, and each who waits holds a thread of the agent's."""
_MAX_BYTES = 32 << 20
_MAX_LINE = 1 << 20
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

    def send(self, connection: socket.socket, query: str = "", patience: str = "") -> None:
        """Answer one request; for the query `graph` with the few metrics that a service graph is drawn from.

        `patience`: what the caller says of it. Raises OSError when the caller goes away.
        """
        seconds, silent = limits(patience)
        # In pieces, so that the caller can tell a scrape that broke off from a whole one.
        head = b"HTTP/1.1 200 .\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        try:
            pieces = _gathered(self._all(time.monotonic() + seconds, silent, graph=query == "graph"))
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

    def _all(self, deadline: float, silent: float, *, graph: bool) -> Iterator[str]:
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
            for line in _get(application, self.source, self.app_path, deadline, silent=silent):
                # The end marker of OpenMetrics would end the whole.
                if line != "# EOF":
                    yield line
        except (OSError, ValueError) as error:
            log(f"the application's metrics at port {self.app_port}: {error}")
            up = 0
        yield "# TYPE refmesh_agent_application_up gauge"
        yield f"refmesh_agent_application_up {up}"


def limits(patience: str) -> tuple[float, float]:
    """In how many seconds a scrape ends, and in how many of them the application has to begin to answer."""
    try:
        seconds = float(patience)
    except ValueError:
        return _SECONDS, _SILENT_SECONDS
    if not 0 < seconds < math.inf:
        return _SECONDS, _SILENT_SECONDS
    seconds = min(max(seconds - _MARGIN_SECONDS, seconds / 2), _MOST_SECONDS)
    return seconds, seconds


def _get(
    address: tuple[str, int], source: str, path: str, deadline: float, *, silent: float = _SECONDS
) -> Iterator[str]:
    """The lines of a page, whose first byte comes within `silent` seconds. Raises OSError or ValueError."""
    headers = [("Accept", "text/plain")]
    with get(Place(*address, path), headers, deadline, source=source, silent=silent) as reply:
        rest = b""
        for piece in _body(reply):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _MAX_LINE:
                raise ValueError("a line is longer than a megabyte")
            for line in lines:
                yield line.decode("utf-8", "replace").rstrip("\r")
        if rest:
            yield rest.decode("utf-8", "replace")


def _body(reply: Reply) -> Iterator[bytes]:
    """The body of a reply that is a page, as it comes. Raises OSError or ValueError."""
    if reply.status != 200:
        raise ValueError(f"the answer was {reply.status}")
    total = 0
    for piece in reply.body:
        total += len(piece)
        if total > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES >> 20} MB")
        yield piece


def _gathered(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines in pieces worth a system call."""
    held, size = list[str](), 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= PIECE:
            yield ("\n".join(held) + "\n").encode()
            held, size = [], 0
    if held:
        yield ("\n".join(held) + "\n").encode()
