"""Traces as HTML: the latest ones as a table, and one of them with every span."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from refmesh.dashboard.drawing import milliseconds
from refmesh.dashboard.markup import document, nothing, section, table
from refmesh.dashboard.waterfall import lines, said, waterfall
from refmesh.telemetry.traces import Trace

__all__ = ["trace_page", "traces_section"]

_MOST_SERVICES = 6
_HINT = (
    "None has been reported to this replica of the control plane. Proxies report every five seconds, and only what is "
    "sampled: a Telemetry with randomSamplingPercentage says how much, or --set trace_sampling=100 at install."
)


def traces_section(traces: Sequence[Trace], up: str, title: str = "Latest traces") -> str:
    """The latest traces of the mesh or of a service; `up` leads from the page it is on to the overview."""
    longest = max((trace.seconds for trace in traces), default=0.0) or 1.0
    rows = (
        (
            f'<a href="{up}trace/{escape(trace.id)}">{_clock(trace.start)}</a>',
            escape(f"{trace.first.service} {trace.first.method} {trace.first.path[:60]}"),
            _outcome(trace),
            _duration(trace, longest),
            str(len(trace.spans)),
            escape(", ".join(_services(trace))),
        )
        for trace in traces
    )
    heads = ("Time", "Begins with", "Outcome", "Duration", "Spans", "Services")
    return section("traces", title, table(heads, rows, numbers=(4,), long=5) if traces else nothing(_HINT))


def trace_page(trace: Trace | None, name: str, now: float) -> str:
    """One trace; None: it is not kept any more."""
    if trace is None:
        inner = nothing(f"There is no trace {escape(name)} here: newer ones may have needed the room.")
        return document("Trace · refmesh", now, [section("trace", "Trace", inner)], up="../")
    first = trace.first
    head = (
        f'<p class="dim">{_clock(trace.start)} UTC · {milliseconds(1000 * trace.seconds)} · {len(trace.spans)} spans '
        f"of {len(trace.services)} services · {_outcome(trace)} · <code>{escape(trace.id)}</code></p>"
    )
    legend = '<p class="dim">An arrow: a call as its client saw it; without one: as its server did.</p>'
    drawing = f'<div class="scroll">{waterfall(trace)}</div>'
    rows = (
        (
            escape(said(span)),
            escape(span.pod),
            escape("; ".join(f"{key}={value}" for key, value in span.tags)),
        )
        for _, span in lines(trace)
    )
    title = f"{escape(first.service)} {escape(first.method)} {escape(first.path)}"
    body = [
        section("trace", title, head + drawing + legend),
        section("spans", "Spans", table(("What", "Pod", "Tags"), rows, long=2)),
    ]
    return document("Trace · refmesh", now, body, up="../")


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(min(max(0.0, seconds), 2.0**32)))


def _duration(trace: Trace, longest: float) -> str:
    """A small bar, and the words."""
    state, width = " poor" if trace.failed else "", max(1.0, 64 * trace.seconds / longest)
    bar = f'<rect class="bar{state}" width="{width:.0f}" height="10" rx="2" />'
    return f'<svg class="mini" width="64" height="10">{bar}</svg> {milliseconds(1000 * trace.seconds)}'


def _outcome(trace: Trace) -> str:
    answer = trace.first.status or "no response"
    if trace.first.failed:
        return f'<span class="poor">{answer}</span>'
    return (
        f'<span class="fair">{answer}, a call failed</span>' if trace.failed else f'<span class="good">{answer}</span>'
    )


def _services(trace: Trace) -> Sequence[str]:
    found = trace.services
    more = [f"{len(found) - _MOST_SERVICES} more"] if len(found) > _MOST_SERVICES else []
    return [*found[:_MOST_SERVICES], *more]
