"""Takes the proxies' spans: OTLP over gRPC, on the port of discovery, where everybody shows a certificate of the mesh.

What comes faster than this can be read in passing is dropped unread and counted: traces are samples anyway, and the
event loop that configures proxies has better to do.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from prometheus_client import Counter

from refmesh.telemetry.spans import read
from refmesh.telemetry.traces import Traces

__all__ = ["Receiver"]

log = logging.getLogger(__name__)

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_BYTES_PER_SECOND, _BURST = 2 << 20, 8 << 20
_MOST_BYTES = 4 << 20
"""Of one message."""
_DONE = b""
"""An empty ExportTraceServiceResponse."""

_KEPT = Counter("refmesh_spans_total", "Spans that were taken in")
_DROPPED = Counter("refmesh_span_messages_dropped_total", "Messages with spans that were not read", ["reason"])


class Receiver:
    """Puts what proxies send into `traces`. `peer` gives the SPIFFE identity of a caller."""

    def __init__(
        self,
        traces: Traces,
        trust_domain: str,
        peer: Callable[[Any], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._traces = traces
        self._identity = re.compile(re.escape(f"spiffe://{trust_domain}/ns/") + r"([a-z0-9-]{1,63})/sa/[^/]+")
        self._peer = peer
        self._clock = clock
        self._room, self._since = float(_BURST), clock()

    def handler(self) -> Any:
        """The gRPC handler."""
        # Bytes as they come: most of the time to read them is saved where they are not wanted.
        method = grpc.unary_unary_rpc_method_handler(self._export)
        return grpc.method_handlers_generic_handler(_SERVICE, {"Export": method})

    async def _export(self, message: bytes, context: Any) -> bytes:
        identity = self._identity.fullmatch(self._peer(context) or "")
        if identity is None:
            _DROPPED.labels("identity").inc()
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "spans are taken from workloads of the mesh only")
        assert identity is not None  # noqa: S101 - abort raises; the type checker cannot know
        if not self._afford(len(message)):
            _DROPPED.labels("too much").inc()
            return _DONE
        try:
            _KEPT.inc(self._traces.add(read(message, identity[1])))
        except ValueError as error:
            _DROPPED.labels("malformed").inc()
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return _DONE

    def _afford(self, size: int) -> bool:
        now = self._clock()
        self._room = min(_BURST, self._room + (now - self._since) * _BYTES_PER_SECOND)
        self._since = now
        if size > _MOST_BYTES or size > self._room:
            return False
        self._room -= size
        return True
