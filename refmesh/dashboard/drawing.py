"""The service graph as inline SVG. What colour says, words say as well; every edge has its figures as a tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from refmesh.dashboard.layout import HEIGHT, WIDTH, place
from refmesh.dashboard.view import WHOLE
from refmesh.telemetry.traffic import Edge, Node

__all__ = ["figures", "graph", "link", "milliseconds", "rate_text", "success_text"]

_LOCK = '<path class="lock" d="M-4 0h8v6h-8z M-2.5 0v-2a2.5 2.5 0 0 1 5 0v2" />'
_LABELS_UP_TO = 80
"""Beyond so many edges their figures would cover each other: they are in the tooltips and in the table."""


def rate_text(rate: float) -> str:
    """Requests or connections a second, in few characters."""
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 0.1 else f"{60 * rate:.1f}/min"


def milliseconds(value: float) -> str:
    """A duration."""
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def success_text(share: float) -> str:
    """A share that is called 100 % only if nothing failed."""
    return "100 %" if share >= 1 else f"{min(99.9, 100 * share):.1f} %"


def link(node: Node) -> str:
    """Where a service's own page is, seen from the overview; a whole namespace is shown by the overview itself."""
    if node[1] == WHOLE:
        return f"?namespace={quote(node[0], safe='')}"
    return f"service/{quote(node[0], safe='')}/{quote(node[1], safe='')}"


def figures(edge: Edge) -> str:
    """An edge's figures in one line."""
    parts = []
    if edge.rate:
        parts += [rate_text(edge.rate), f"{success_text(edge.success)} succeed"]
        parts += [f"p50 {milliseconds(edge.p50)}", f"p99 {milliseconds(edge.p99)}"]
    if edge.connections:
        parts.append(f"{rate_text(edge.connections)} TCP connections")
    return ", ".join([*parts, _security(edge)])


def _security(edge: Edge) -> str:
    if edge.secure >= 1:
        return "mutual TLS"
    return "plaintext" if edge.secure <= 0 else f"{100 * edge.secure:.0f} % mutual TLS"


def health(share: float) -> str:
    """A class for a share of success."""
    return "good" if share >= 0.999 else "fair" if share >= 0.95 else "poor"


def edge_health(edge: Edge) -> str:
    """A class for an edge: of connections nobody knows whether they succeed."""
    return health(edge.success) if edge.rate else "dim"


def graph(edges: Sequence[Edge], *, up: str = "") -> str:
    """The drawing; `up` leads from the page it is on to the overview."""
    layout = place((edge.source, edge.destination) for edge in edges)
    worst: dict[Node, float] = {}
    for edge in edges:
        worst[edge.destination] = min(edge.success, worst.get(edge.destination, 1.0))
    head = (
        f'<svg class="graph" role="img" aria-label="Service graph: {len(layout.at)} services, {len(edges)} edges" '
        f'viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" width="{layout.width:.0f}" '
        f'height="{layout.height:.0f}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
        'markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0 8 4 0 8z" /></marker></defs>'
    )
    parts = [head]
    labelled = len(edges) <= _LABELS_UP_TO
    # Labels come last, so that no line runs through one.
    labels = [_edge(edge, layout.at, parts, labelled=labelled) for edge in edges]
    for node, (x, y) in layout.at.items():
        parts.append(_node(node, x, y, worst.get(node), up))
    return "".join([*parts, *labels, "</svg>"])


def _edge(edge: Edge, at: dict[Node, tuple[float, float]], parts: list[str], *, labelled: bool) -> str:
    (x1, y1), (x2, y2) = at[edge.source], at[edge.destination]
    y1, y2 = y1 + HEIGHT / 2, y2 + HEIGHT / 2
    if edge.source == edge.destination:
        right = x1 + WIDTH
        path = f"M{right:.0f} {y1 - 8:.0f}c44 -24 44 40 0 16"
        middle = (right + 36, y1)
    elif x2 > x1:
        x1, bend = x1 + WIDTH, 60
        path = f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
        # On the piece that leaves the caller's column: edges into one service end close together.
        middle = (x1 + 64, y1 + (y2 - y1) * (0.5 if x2 - x1 < 150 else 0.2))
    else:
        x2 = x2 + WIDTH
        path = f"M{x1:.0f} {y1 + 8:.0f}C{x1 - 70:.0f} {y1 + 8:.0f} {x2 + 70:.0f} {y2 + 8:.0f} {x2:.0f} {y2 + 8:.0f}"
        middle = ((x1 + x2) / 2, (y1 + y2) / 2 + 8)
    said = escape(f"{_name(edge.source)} → {_name(edge.destination)}: {figures(edge)}")
    secure = "secure" if edge.secure >= 1 else "open"
    width = 1.5 + min(3.0, edge.weight**0.3 / 2)
    parts.append(
        f'<path class="edge {edge_health(edge)} {secure}" d="{path}" stroke-width="{width:.1f}" '
        f'marker-end="url(#tip)"><title>{said}</title></path>'
    )
    if not labelled:
        return ""
    first, second = f"{rate_text(edge.connections)} TCP", "connections"
    if edge.rate:
        first = f"{rate_text(edge.rate)} · {success_text(edge.success)}"
        second = f"{milliseconds(edge.p50)} / {milliseconds(edge.p99)}"
    lock = f'<g transform="translate(-46 -7)">{_LOCK}</g>' if edge.secure >= 1 else ""
    return (
        f'<g class="label" transform="translate({middle[0]:.0f} {middle[1]:.0f})"><title>{said}</title>'
        f'<rect x="-54" y="-15" width="108" height="29" rx="4" />{lock}'
        f'<text x="{4 if lock else 0}" y="-3">{first}</text><text y="10">{second}</text></g>'
    )


def _name(node: Node) -> str:
    return node[1] if node[0] == "unknown" else f"{node[1]}.{node[0]}"


def _node(node: Node, x: float, y: float, worst: float | None, up: str) -> str:
    title, state = escape(_name(node)), health(worst) if worst is not None else "good"
    return (
        f'<a href="{up}{link(node)}"><g class="node {state}" transform="translate({x:.0f} {y:.0f})">'
        f"<title>{title}</title>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="7" /><text x="12" y="20">{escape(_short(node[1], 20))}</text>'
        f'<text class="dim" x="12" y="36">{escape(_short(node[0], 24))}</text></g></a>'
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
