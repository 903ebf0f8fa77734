"""A trace as a waterfall of inline SVG: a line for each span, under the one that it follows from."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from refmesh.dashboard.drawing import milliseconds
from refmesh.telemetry.spans import Span
from refmesh.telemetry.traces import Trace

__all__ = ["lines", "said", "waterfall"]

_ROW, _HEAD = 26, 24
_NAMES, _BARS, _TIMES = 340, 620, 90
_INDENT, _DEEPEST = 12, 10
_TICKS = 4


def lines(trace: Trace) -> Iterator[tuple[int, Span]]:
    """The spans with their depth: each right after the one that it follows from, siblings by time.

    Whatever proxies say their parents are, every span comes once: one that no beginning leads to begins anew.
    """
    known = {span.id for span in trace.spans}
    below: dict[str, list[Span]] = {}
    for span in trace.spans:
        below.setdefault(span.parent if span.parent in known else "", []).append(span)
    seen: set[tuple[str, str]] = set()
    waiting = [(0, span) for span in reversed(trace.spans)]
    waiting.extend((0, span) for span in reversed(below.get("", [])))
    while waiting:
        depth, span = waiting.pop()
        if (span.id, span.pod) in seen:
            continue
        seen.add((span.id, span.pod))
        yield depth, span
        waiting.extend((depth + 1, other) for other in reversed(below.get(span.id, [])))


def said(span: Span) -> str:
    """A span in words."""
    what = f"{span.method} {span.path}".strip() or "request"
    doing = f"calls {_target(span)}" if span.kind == "client" and span.upstream else span.kind
    flags = f", {span.flags}" if span.flags else ""
    return f"{span.service} {doing}: {what}, {span.status or 'no response'}{flags}, {milliseconds(1000 * span.seconds)}"


def _target(span: Span) -> str:
    """Whom a client's proxy chose: the host of a cluster `outbound|80|v1|reviews.shop.svc.cluster.local`."""
    return span.upstream.rpartition("|")[2].partition(".svc.")[0] or span.upstream


def waterfall(trace: Trace) -> str:
    """The drawing."""
    width, rows = _NAMES + _BARS + _TIMES, list(lines(trace))
    height = _HEAD + _ROW * len(rows)
    whole = max(trace.seconds, 1e-6)
    head = (
        f'<svg class="waterfall" role="img" aria-label="Trace of {len(rows)} spans in {milliseconds(1000 * whole)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    )
    parts = [head]
    for tick in range(_TICKS + 1):
        x = _NAMES + _BARS * tick / _TICKS
        parts.append(
            f'<line class="tick" x1="{x:.0f}" y1="{_HEAD - 4}" x2="{x:.0f}" y2="{height}" />'
            f'<text class="dim" x="{x + 3:.0f}" y="14">{milliseconds(1000 * whole * tick / _TICKS)}</text>'
        )
    for number, (depth, span) in enumerate(rows):
        parts.append(_line(span, depth, _HEAD + _ROW * number, trace.start, whole))
    return "".join([*parts, "</svg>"])


def _line(span: Span, depth: int, y: int, start: float, whole: float) -> str:
    left = _NAMES + _BARS * min(1.0, max(0.0, (span.start - start) / whole))
    wide = max(2.0, _BARS * span.seconds / whole)
    name = f"{span.service.partition('.')[0]}{' ' + span.version if span.version else ''}"
    side = "client" if span.kind == "client" else "server"
    arrow = "→ " if side == "client" else ""
    text = f"{arrow}{name} {span.method} {span.path}"
    room = 46 - 2 * min(depth, _DEEPEST)
    shown = text if len(text) <= room else f"{text[: room - 1]}…"
    state = "poor" if span.failed else "fair" if span.flags else ""
    end = f"{milliseconds(1000 * span.seconds)}{' · ' + str(span.status) if span.failed else ''}"
    return (
        f"<g><title>{escape(said(span))}</title>"
        f'<text x="{4 + _INDENT * min(depth, _DEEPEST)}" y="{y + 17}">{escape(shown)}</text>'
        f'<rect class="bar {side} {state}" x="{left:.1f}" y="{y + 5}" width="{wide:.1f}" height="{_ROW - 10}" '
        f'rx="2" /><text class="dim" x="{_NAMES + _BARS + 8}" y="{y + 17}">{escape(end)}</text></g>'
    )
