"""The latest traces, in memory: a ring that is bounded by spans and by bytes, whatever proxies send."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from refmesh.telemetry.spans import Span

__all__ = ["Trace", "Traces"]

_MOST_SPANS, _MOST_BYTES = 20_000, 24 << 20
_MOST_OF_ONE = 500
"""Spans of one trace: a trace that never ends does not push out all others."""


@dataclass
class _Kept:
    spans: dict[tuple[str, str], Span] = field(default_factory=dict)
    """By id and pod: a span that is sent again replaces itself, and nobody else's."""
    size: int = 0


@dataclass(frozen=True)
class Trace:
    """What is known of one trace; spans the earliest first."""

    id: str
    spans: tuple[Span, ...]

    @property
    def start(self) -> float:
        """Epoch seconds."""
        return self.spans[0].start

    @property
    def seconds(self) -> float:
        """From the first span's start to the last one's end."""
        return max(span.start + span.seconds for span in self.spans) - self.start

    @property
    def first(self) -> Span:
        """The span that all others follow from; the earliest one where that is not known."""
        ids = {span.id for span in self.spans}
        return next((span for span in self.spans if span.parent not in ids), self.spans[0])

    @property
    def failed(self) -> bool:
        """Whether anything in it failed."""
        return any(span.failed for span in self.spans)

    @property
    def services(self) -> tuple[str, ...]:
        """Who took part, in order of appearance."""
        return tuple(dict.fromkeys(span.service for span in self.spans))


class Traces:
    """Keeps what is added until newer traces need the room: what was heard of longest ago goes first."""

    def __init__(self, most_spans: int = _MOST_SPANS, most_bytes: int = _MOST_BYTES) -> None:
        self._most_spans, self._most_bytes = most_spans, most_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self.spans = 0
        self.size = 0
        """Bytes, estimated."""

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, spans: Iterable[Span]) -> int:
        """Take in spans; how many were kept."""
        kept = 0
        for span in spans:
            trace = self._kept.setdefault(span.trace, _Kept())
            self._kept.move_to_end(span.trace)
            key = (span.id, span.pod)
            before = trace.spans.get(key)
            if before is None and len(trace.spans) >= _MOST_OF_ONE:
                continue
            trace.spans[key] = span
            grown = span.size - (before.size if before is not None else 0)
            trace.size += grown
            self.size += grown
            self.spans += before is None
            kept += 1
            while len(self._kept) > 1 and (self.spans > self._most_spans or self.size > self._most_bytes):
                _, gone = self._kept.popitem(last=False)
                self.spans -= len(gone.spans)
                self.size -= gone.size
        return kept

    def recent(self, most: int, service: str = "") -> tuple[Trace, ...]:
        """The latest traces, the newest first; those only that a service took part in, where one is named."""
        found = []
        for name in reversed(self._kept):
            if service and all(span.service != service for span in self._kept[name].spans.values()):
                continue
            found.append(self._trace(name))
            if len(found) == most:
                break
        return tuple(sorted(found, key=lambda trace: -trace.start))

    def get(self, name: str) -> Trace | None:
        """A trace by its id."""
        return self._trace(name) if name in self._kept else None

    def _trace(self, name: str) -> Trace:
        return Trace(name, tuple(sorted(self._kept[name].spans.values(), key=lambda span: (span.start, span.id))))
