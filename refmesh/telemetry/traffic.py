"""Traffic between workloads, read from the proxies' metrics: what the service graph is drawn from. Pure.

A proxy's counters only grow, so what happened lately is the difference of two readings of the same pod. Differences are
added up over a window; a pod that restarted starts again from zero and is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

__all__ = ["BOUNDS", "Cell", "Edge", "Flow", "Node", "Reading", "difference", "edges", "quantile", "read"]

_SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)$")
# Possessive, and from the beginning of a word: the time it takes grows with the text, not with its square.
_LABEL = re.compile(r'\b(\w++)="((?:[^"\\]|\\.)*+)"')
_REQUESTS, _BUCKET = "istio_requests_total", "istio_request_duration_milliseconds_bucket"
_OPENED, _CLOSED = "istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"
_READ = (_REQUESTS, _BUCKET, _OPENED, _CLOSED)
_NOT_AFTER = "refmesh_agent_certificate_not_after_seconds"
BOUNDS = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
    3_600_000, float("inf"),
)  # fmt: skip
"""Upper bounds of the duration's buckets, milliseconds: Envoy's defaults, which are Istio's."""
_PLACE = {("+Inf" if bound == float("inf") else f"{bound:g}"): place for place, bound in enumerate(BOUNDS)} | {
    str(int(bound)): place for place, bound in enumerate(BOUNDS) if 1 <= bound < float("inf")
}
_BROKEN_CALLS = {"2", "4", "8", "12", "13", "14", "15"}
"""gRPC statuses that are the server's fault or the mesh's, not the caller's."""
_LONGEST_LINE, _LONGEST_NAME = 4096, 253
_MOST_FLOWS = 5000
"""Of one pod. Five hundred services called by one make two thousand."""
_MOST_COUNT = 2.0**53
"""Beyond it, adding one changes nothing."""
_LAST_MOMENT = 253_402_300_799
"""The end of the year 9999: no calendar here goes further."""

Node = tuple[str, str]
"""Namespace and service, as people call them."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What a counter is about."""

    source: Node
    destination: Node
    ok: bool
    secure: bool
    tcp: bool = False
    """It counts connections, of which it is not known whether they succeed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Requests and their durations by bucket, cumulative over buckets as Prometheus counts; or connections."""

    requests: float = 0.0
    buckets: tuple[float, ...] = (0.0,) * len(BOUNDS)

    def plus(self, other: Cell) -> Cell:
        """Both together."""
        return Cell(
            self.requests + other.requests, tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True))
        )


@dataclass(frozen=True)
class Reading:
    """One scrape of one pod."""

    cells: Mapping[Flow, Cell]
    not_after: float = 0.0
    """When the pod's certificate ends, epoch seconds; 0 where that is not known."""


@dataclass(frozen=True)
class Edge:
    """Traffic from one service to another over a window."""

    source: Node
    destination: Node
    rate: float
    """Requests a second."""
    success: float
    """Share of requests that did not fail, 0 to 1; 1 without any."""
    p50: float
    p99: float
    """Milliseconds."""
    secure: float
    """Share of requests and connections under mutual TLS, 0 to 1."""
    connections: float = 0.0
    """Connections a second of what is no HTTP."""

    @property
    def weight(self) -> float:
        """Requests and connections a second."""
        return self.rate + self.connections


@lru_cache(maxsize=16_384)
def _flow(name: str, labels: str) -> Flow | None:
    """What a sample is about, None for what another one reports better."""
    known = "unknown"
    found = {key: value[:_LONGEST_NAME] for key, value in _LABEL.findall(labels)}
    source_name = found.get("source_canonical_service", known)
    tcp, arrived = name in {_OPENED, _CLOSED}, found.get("reporter") == "destination"
    # A server's proxy opens a connection before it knows the client's certificate, or that there is none.
    if tcp and name != (_CLOSED if arrived else _OPENED):
        return None
    # Over TCP a server's proxy learns from the certificate whose account it is, and no more.
    client = found.get("source_principal", known) if tcp else source_name
    if arrived and client != known:
        # The client's proxy has the same requests and connections, and those that never arrived.
        return None
    host = found.get("destination_service", known) != known
    if host or found.get("destination_canonical_service", known) == known:
        destination = (found.get("destination_service_namespace", known), found.get("destination_service_name", known))
    else:
        destination = (found.get("destination_workload_namespace", known), found["destination_canonical_service"])
    if arrived:
        secure = found.get("connection_security_policy") == "mutual_tls"
    else:
        secure = found.get("destination_principal", known) != known
    code, call = found.get("response_code", "0"), found.get("grpc_response_status", "")
    ok = tcp or (code[:1] not in {"5", "0"} and call not in _BROKEN_CALLS)
    return Flow((found.get("source_workload_namespace", known), source_name), destination, ok, secure, tcp)


def read(lines: Iterable[str], *, most: int = 200_000) -> Reading:
    """Read an exposition, `most` lines of it at most; what does not belong to the graph is passed over.

    Raises ValueError for what no agent says: anybody may answer at the port that is asked.
    """
    requests: dict[Flow, float] = {}
    buckets: dict[Flow, list[float]] = {}
    not_after = 0.0
    for number, line in enumerate(lines):
        if number >= most:
            break
        if not line.startswith(_READ):
            if line.startswith(_NOT_AFTER):
                not_after = _number(_NOT_AFTER, line.rpartition(" ")[2], _LAST_MOMENT)
            continue
        match = _SAMPLE.fullmatch(line) if len(line) <= _LONGEST_LINE else None
        if match is None:
            continue
        name, labels, value = match.groups()
        if name == _BUCKET:
            labels, _, bound = labels.rpartition(',le="')
            flow, place = _flow(name, labels), _PLACE.get(bound.rstrip('"'))
            if flow is not None and place is not None:
                buckets.setdefault(flow, [0.0] * len(BOUNDS))[place] += _number(name, value, _MOST_COUNT)
        elif name in _READ and (flow := _flow(name, labels)) is not None:
            requests[flow] = requests.get(flow, 0.0) + _number(name, value, _MOST_COUNT)
        if max(len(requests), len(buckets)) > _MOST_FLOWS:
            raise ValueError(f"traffic of more than {_MOST_FLOWS} kinds")
    empty = [0.0] * len(BOUNDS)
    cells = {flow: Cell(count, tuple(buckets.get(flow, empty))) for flow, count in requests.items()}
    return Reading(cells, not_after)


def _number(name: str, text: str, most: float) -> float:
    """A whole number from 0 to `most`. Raises ValueError for any other, and for what is none."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    # Written so that what is not a number is refused as well.
    if not (0 <= value <= most and value.is_integer()):
        raise ValueError(f"{name} is {text[:40]}, not a whole number from 0 to {most:.0f}")
    return value


def difference(before: Mapping[Flow, Cell], after: Mapping[Flow, Cell]) -> dict[Flow, Cell]:
    """What happened between two readings of one pod."""
    if any(flow not in after or after[flow].requests < cell.requests for flow, cell in before.items()):
        before = {}
    found = {}
    for flow, cell in after.items():
        old = before.get(flow)
        grown = cell if old is None else Cell(
            cell.requests - old.requests,
            # Histograms trail counters by seconds; a bucket never shrinks but at a restart.
            tuple(max(0.0, a - b) for a, b in zip(cell.buckets, old.buckets, strict=True)),
        )  # fmt: skip
        if grown.requests or any(grown.buckets):
            found[flow] = grown
    return found


def quantile(share: float, buckets: tuple[float, ...]) -> float:
    """Where a share of the durations ends, milliseconds, straight between the bounds; 0 without any."""
    total = buckets[-1]
    if total <= 0:
        return 0.0
    rank, below, lower = share * total, 0.0, 0.0
    for bound, count in zip(BOUNDS, buckets, strict=True):
        if count >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below) if count > below else bound
        below, lower = count, bound
    return lower


@dataclass
class _Sum:
    cell: Cell = field(default_factory=Cell)
    ok: float = 0.0
    secure: float = 0.0
    connections: float = 0.0

    def add(self, flow: Flow, cell: Cell) -> None:
        """Count what is known of a flow."""
        self.secure += cell.requests if flow.secure else 0.0
        if flow.tcp:
            self.connections += cell.requests
        else:
            self.cell = self.cell.plus(cell)
            self.ok += cell.requests if flow.ok else 0.0

    def edge(self, source: Node, destination: Node, seconds: float) -> Edge:
        """All of it, over a window of so many seconds."""
        requests, buckets = self.cell.requests, self.cell.buckets
        return Edge(
            source,
            destination,
            requests / seconds,
            self.ok / requests if requests else 1.0,
            quantile(0.5, buckets),
            quantile(0.99, buckets),
            min(1.0, self.secure / (requests + self.connections)),
            self.connections / seconds,
        )


def edges(parts: Iterable[Mapping[Flow, Cell]], seconds: float) -> tuple[Edge, ...]:
    """The traffic of all parts together, over a window of so many seconds; the busiest first."""
    sums: dict[tuple[Node, Node], _Sum] = {}
    for part in parts:
        for flow, cell in part.items():
            sums.setdefault((flow.source, flow.destination), _Sum()).add(flow, cell)
    found = [one.edge(*ends, seconds) for ends, one in sums.items() if one.cell.requests or one.connections]
    return tuple(sorted(found, key=lambda edge: (-edge.weight, edge.source, edge.destination)))
