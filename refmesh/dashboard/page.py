"""The pages as HTML, pure functions of a `View`. All text from outside is escaped here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from refmesh.dashboard import drawing
from refmesh.dashboard.entries import entries_section, log_link
from refmesh.dashboard.logging import NOBODY, Logging
from refmesh.dashboard.markup import document, nothing, section, table
from refmesh.dashboard.traces import traces_section
from refmesh.dashboard.view import Proxy, View, by_namespace, of_namespace, of_service, share
from refmesh.telemetry.traces import Trace
from refmesh.telemetry.traffic import Edge, Node

__all__ = ["log", "overview", "service"]

_MOST_NODES = 60
"""More do not fit a screen: the graph then shows namespaces, and one namespace at a time in full."""
_MOST_ROWS = 200
_MOST_REPLICAS = 5
_LATEST = 40
"""Traces that a page lists."""
_SOON_SECONDS = 3600.0


def overview(view: View, namespace: str = "", traces: Sequence[Trace] = ()) -> str:
    """The front page, of all namespaces or of one."""
    edges = of_namespace(view.edges, namespace) if namespace else view.edges
    body = [_tiles(view, edges), _graph_section(view, edges, namespace), _traffic_section(edges, "")]
    rest = [traces_section(traces[:_LATEST], ""), _config_section(view), _certificate_section(view)]
    return document("refmesh", view.now, [*body, *rest], up="")


def log(view: View, namespace: str, traces: Sequence[Trace], logging: Logging) -> str:
    """The page of all access logs of a namespace."""
    body = [entries_section(logging, [trace.id for trace in traces], namespace, "../", whole=True)]
    return document(f"Access log of {namespace} · refmesh", view.now, body, up="../")


def service(view: View, node: Node, traces: Sequence[Trace] = (), logging: Logging = NOBODY) -> str:
    """The page of one service: who calls it, and what it calls. More traces than are shown may be given."""
    edges = of_service(view.edges, node)
    name = f"{node[1]}.{node[0]}"
    inner = f'<div class="scroll">{drawing.graph(edges, up="../../")}</div>' if edges else nothing("No traffic lately.")
    calls = tuple(edge for edge in edges if edge.destination == node)
    made = tuple(edge for edge in edges if edge.source == node)
    body = [
        section("graph", escape(name), inner),
        _traffic_section(calls, "../../", "Calls to it", "calls-in"),
        _traffic_section(made, "../../", "Calls it makes", "calls-out"),
        traces_section(traces[:_LATEST], "../../", "Latest traces through it"),
        entries_section(logging, [trace.id for trace in traces], node[0], "../../", whole=False),
        section("pods", "Its proxies", _pods(view, [f"{pod}.{node[0]}" for pod in logging.pods])),
    ]
    return document(f"{name} · refmesh", view.now, body, up="../../")


def _pods(view: View, pods: Sequence[str]) -> str:
    if not pods:
        return nothing("No proxy is known.")
    ends = {one.owner: one.not_after for one in view.certificates}
    connected = {proxy.name: proxy for proxy in view.proxies}
    rows = (
        (
            escape(pod),
            _state(connected.get(pod)),
            escape("; ".join(connected[pod].problems if pod in connected else ())) or "–",
            _left(ends[pod] - view.now) if pod in ends else "–",
        )
        for pod in pods[:_MOST_ROWS]
    )
    more = nothing(f"The first {_MOST_ROWS} of {len(pods)}.") if len(pods) > _MOST_ROWS else ""
    return table(("Pod", "Configuration", "Rejected by Envoy", "Certificate ends in"), rows, long=2) + more


def _tiles(view: View, edges: Sequence[Edge]) -> str:
    rate = sum(edge.rate for edge in edges)
    success = share((edge.success, edge.rate) for edge in edges)
    secure = share((edge.secure, edge.weight) for edge in edges)
    behind = sum(not proxy.in_step for proxy in view.proxies)
    in_sync = "proxies of this replica in sync" if view.others else "proxies in sync"
    services = {edge.destination for edge in edges} | {edge.source for edge in edges}
    tiles = [
        (str(len(services)), "services with traffic", ""),
        (drawing.rate_text(rate), "requests", ""),
        (drawing.success_text(success) if rate else "–", "succeed", drawing.health(success)),
        (drawing.success_text(secure) if edges else "–", "under mutual TLS", "good" if secure >= 1 else "fair"),
        (f"{len(view.proxies) - behind}/{len(view.proxies)}", in_sync, "fair" if behind else "good"),
        (str(len(view.refused)), "objects rejected", "poor" if view.refused else "good"),
    ]
    cells = "".join(f'<div class="tile"><b class="{state}">{value}</b>{label}</div>' for value, label, state in tiles)
    return f'<div class="tiles" id="tiles" data-live>{cells}</div>'


def _graph_section(view: View, edges: Sequence[Edge], namespace: str) -> str:
    namespaces = sorted({node[0] for edge in view.edges for node in (edge.source, edge.destination)})
    options = "".join(f"<option{' selected' if one == namespace else ''}>{escape(one)}</option>" for one in namespaces)
    chooser = (
        '<form method="get"><label>Namespace <select name="namespace" onchange="this.form.submit()">'
        f'<option value="">all</option>{options}</select></label>'
        + (f'<a href="{log_link(namespace)}">Access log</a>' if namespace else "")
        + "</form>"
    )
    nodes = {node for edge in edges for node in (edge.source, edge.destination)}
    note = ""
    if len(nodes) > _MOST_NODES and not namespace:
        edges = by_namespace(edges)
        note = nothing(f"{len(nodes)} services: shown by namespace. Choose one to see its services.")
    elif len(nodes) > 4 * _MOST_NODES:
        kept = {node for edge in edges[: 4 * _MOST_NODES] for node in (edge.source, edge.destination)}
        edges = [edge for edge in edges if {edge.source, edge.destination} <= kept][: 4 * _MOST_NODES]
        note = nothing(f"{len(nodes)} services: shown are the {len(edges)} busiest edges; the table has them all.")
    inner = (
        f'<div class="scroll">{drawing.graph(edges)}</div>'
        if edges
        else nothing(
            "No request and no connection in the last minute. It takes ten seconds until the first is seen here."
        )
    )
    legend = (
        '<p class="dim">Each edge: requests a second · share that succeeds, p50 / p99; of other TCP: connections a '
        "second. A lock and a solid line: mutual TLS; dashed: plaintext.</p>"
    )
    return section("graph", "Service graph", chooser + note + inner + legend)


def _traffic_section(edges: Sequence[Edge], up: str, title: str = "Traffic", key: str = "traffic") -> str:
    rows = (
        (
            _linked(edge.source, up),
            _linked(edge.destination, up),
            *(_requests(edge) if edge.rate else ("–",) * 4),
            drawing.rate_text(edge.connections) if edge.connections else "–",
            drawing.success_text(edge.secure) if edge.secure else "plaintext",
        )
        for edge in edges[:_MOST_ROWS]
    )
    heads = ("From", "To", "Rate", "Success", "p50", "p99", "TCP connections", "Mutual TLS")
    more = nothing(f"The busiest {_MOST_ROWS} of {len(edges)}.") if len(edges) > _MOST_ROWS else ""
    inner = table(heads, rows, numbers=range(2, 8)) + more if edges else nothing("None in the last minute.")
    return section(key, title, inner)


def _requests(edge: Edge) -> tuple[str, ...]:
    return (
        drawing.rate_text(edge.rate),
        f'<span class="{drawing.health(edge.success)}">{drawing.success_text(edge.success)}</span>',
        drawing.milliseconds(edge.p50),
        drawing.milliseconds(edge.p99),
    )


def _linked(node: Node, up: str) -> str:
    name = f'<a href="{up}{drawing.link(node)}">{escape(node[1])}</a>'
    return f'{name} <span class="dim">{escape(node[0])}</span>'


def _config_section(view: View) -> str:
    parts = []
    if view.refused:
        rows = ((escape(one.kind), escape(f"{one.namespace}/{one.name}"), escape(one.reason)) for one in view.refused)
        parts.append(table(("Rejected", "Object", "Why"), rows, long=2))
    else:
        parts.append('<p><span class="good">✔</span> Every object is in force.</p>')
    behind = [proxy for proxy in view.proxies if not proxy.in_step or proxy.problems]
    if behind:
        states = (
            (escape(proxy.name), _state(proxy), escape("; ".join(proxy.problems))) for proxy in behind[:_MOST_ROWS]
        )
        parts.append(table(("Proxy", "State", "Rejected by Envoy"), states, long=2))
    else:
        parts.append(f'<p><span class="good">✔</span> All {len(view.proxies)} connected proxies are in sync.</p>')
    if view.elsewhere:
        parts.append(nothing(_elsewhere(view)))
    if view.unreachable:
        lost = ((escape(pod), escape(why)) for pod, why in view.unreachable[:_MOST_ROWS])
        parts.append(table(("Metrics cannot be read", "Why"), lost, long=1))
    return section("config", "Configuration", "".join(parts))


def _elsewhere(view: View) -> str:
    """Whose proxies are not shown, and where they may be."""
    count = (
        f"{view.elsewhere} more proxies are not connected" if view.elsewhere > 1 else "1 more proxy is not connected"
    )
    if not view.others:
        return f"{count} to the control plane."
    some = ", ".join(view.others[:_MOST_REPLICAS]) + (" and others" if len(view.others) > _MOST_REPLICAS else "")
    return (
        f"{count} to this replica of the control plane, {escape(view.replica)}, but to others ({escape(some)}) or to "
        "none: <code>refmesh proxy-status</code> asks every replica."
    )


def _state(proxy: Proxy | None) -> str:
    if proxy is None:
        return '<span class="dim">not connected to this replica of the control plane</span>'
    return '<span class="good">in sync</span>' if proxy.in_step else '<span class="fair">behind</span>'


def _certificate_section(view: View) -> str:
    # The next to end comes first: that is the question.
    ordered = sorted(view.certificates, key=lambda one: (one.not_after, one.owner))
    rows = (
        (
            escape(one.owner),
            time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(one.not_after)),
            _left(one.not_after - view.now),
        )
        for one in ordered[:_MOST_ROWS]
    )
    more = nothing(f"The first {_MOST_ROWS} of {len(ordered)} to end.") if len(ordered) > _MOST_ROWS else ""
    inner = table(("Certificate of", "Ends", "Left"), rows) + more if ordered else nothing("None is known yet.")
    return section("certificates", "Certificates", inner)


def _left(seconds: float) -> str:
    if seconds <= 0:
        return '<span class="poor">expired</span>'
    text = (
        f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400
        else f"{seconds / 3600:.1f} h" if seconds >= _SOON_SECONDS
        else f"{seconds / 60:.0f} min"
    )  # fmt: skip
    return f'<span class="fair">{text}</span>' if seconds < _SOON_SECONDS else text
