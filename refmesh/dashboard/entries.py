"""Access logs as HTML: what is logged of a service, and the entries.

The control plane has no entries and may read no logs. It says which pods there are, and leaves a place in the page that
`refmesh dashboard` fills on the user's machine with what the user may read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from refmesh.dashboard.drawing import milliseconds
from refmesh.dashboard.logging import Logging, Rule
from refmesh.dashboard.markup import nothing, section, table
from refmesh.telemetry.entries import Entry

__all__ = ["Found", "Wanted", "entries_section", "fill", "log_link", "wanted"]

_MOST_ROWS = 200
_MOST_OF_SERVICE, _MOST_OF_NAMESPACE = 10, 24
"""Pods whose logs are read for one page."""
_PLACE = re.compile(r"<!--entries ([a-z0-9.,-]*) ([0-9a-f,]*)-->.*?<!--/entries-->", re.DOTALL)
"""Names in a page are escaped, so nobody else can write this."""
_POD = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Wanted:
    """What a page has room for: entries of these pods; traces that have a page of their own."""

    pods: tuple[str, ...]
    traces: frozenset[str]


@dataclass(frozen=True)
class Found:
    """What was read: entries with their pods, the newest first."""

    entries: Sequence[tuple[str, Entry]]
    foreign: int = 0
    """Lines in another format."""
    problems: Sequence[str] = ()


def entries_section(logging: Logging, traces: Iterable[str], namespace: str, up: str, *, whole: bool) -> str:
    """The part of a page; `whole`: of all of a namespace. `up` leads to the overview."""
    total, read = len(logging.pods), logging.pods[: _MOST_OF_NAMESPACE if whole else _MOST_OF_SERVICE]
    pods, kept = ",".join(filter(_POD.fullmatch, read)), ",".join(filter(_HEX.fullmatch, traces))
    reason = nothing("Entries are shown by <code>refmesh dashboard</code>, which reads them with your own rights.")
    parts = [_rule(rule, total) for rule in logging.rules]
    if logging.own_format:
        parts.append(
            "<p>The log has a format of its own, in which entries are not known here. An install without "
            "<code>--set access_log_format</code> brings refmesh's own back.</p>"
        )
    elif logging.text:
        parts.append(nothing("Lines of text name no accounts and no traces: --set access_log_encoding=JSON has both."))
    if len(read) < total:
        parts.append(nothing(f"Shown are {len(read)} of {total} pods."))
    parts.append(f"<!--entries {pods} {kept}-->{reason}<!--/entries-->" if pods else nothing("No proxy is known."))
    if not whole:
        parts.append(f'<p><a href="{up}{log_link(namespace)}">All of namespace {escape(namespace)}</a></p>')
    title = f"Access log of namespace {escape(namespace)}" if whole else "Access log"
    return section("log", title, "".join(parts))


def log_link(namespace: str) -> str:
    """Where the page of a namespace's entries is, seen from the overview."""
    return f"log/{quote(namespace, safe='')}"


def _rule(rule: Rule, total: int) -> str:
    some = "" if rule.pods == total else f", at {rule.pods} of {total} pods"
    what, by = escape(rule.what) + some, f" by Telemetry {escape(rule.by)}" if rule.by else ""
    if rule.expression:
        return f"<p>Logged{by} only where <code>{escape(rule.expression)}</code> holds: {what}.</p>"
    namespace, _, name = rule.by.partition("/")
    fix = (
        f"<code>{escape(f'kubectl edit telemetries.telemetry.istio.io -n {namespace} {name}')}</code> turns it on: "
        "<code>disabled: false</code> in its <code>accessLogging</code>."
        if rule.by
        else "<code>refmesh install --set access_log=on</code>, beside your other settings, turns it on."
    )
    return f'<p><span class="fair">Not logged</span>{by}: {what}. {fix}</p>'


def wanted(page: str) -> Wanted | None:
    """What a page has room for; None where it has none."""
    place = _PLACE.search(page)
    if place is None:
        return None
    return Wanted(
        tuple(filter(_POD.fullmatch, place[1].split(","))), frozenset(filter(_HEX.fullmatch, place[2].split(",")))
    )


def fill(page: str, found: Found, traces: Collection[str], up: str) -> str:
    """The page with entries in their place."""
    rows = [_row(pod, entry, traces, up) for pod, entry in found.entries[:_MOST_ROWS]]
    heads = ("Time, trace", "Code", "Request", "Duration", "Peer", "Flags", "Pod")
    parts = [f'<p class="poor">{escape(problem)}</p>' for problem in found.problems]
    if len(found.entries) > len(rows):
        parts.append(nothing(f"The newest {len(rows)} of {len(found.entries)} entries."))
    if rows:
        parts.append(table(heads, rows, numbers=(1, 3), long=2))
    elif not found.problems:
        parts.append(nothing("No entry among the latest lines of these pods."))
    if found.foreign:
        parts.append(nothing(f"{found.foreign} lines have another format than refmesh's own, and are not shown."))
    return _PLACE.sub(lambda _: "".join(parts), page, count=1)


def _row(pod: str, entry: Entry, traces: Collection[str], up: str) -> tuple[str, ...]:
    time = escape(entry.time[11:23])
    state = "poor" if entry.code >= 500 or (not entry.code and entry.flags) else "fair" if entry.code >= 400 else "good"
    arrow = {"inbound": "← from ", "outbound": "→ to "}.get(entry.direction, "")
    shown = ' <span class="good" title="showed a certificate of the mesh">mTLS</span>' if entry.verified else ""
    return (
        f'<a href="{up}trace/{entry.trace}">{time}</a>' if entry.trace in traces else time,
        f'<span class="{state}">{entry.code or ("–" if entry.method else "TCP")}</span>',
        f"{escape(entry.method)} {escape(entry.path)}" if entry.method else "connection",
        _took(entry.milliseconds),
        f"{arrow}{escape(entry.peer) or '–'}{shown}",
        escape(entry.flags),
        escape(pod),
    )


def _took(whole: int | None) -> str:
    return "–" if whole is None else f"{whole} ms" if whole < 1000 else milliseconds(whole)
