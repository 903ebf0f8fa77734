"""What every page of the dashboard is made of: the document, sections, tables. Texts are HTML already."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape

from refmesh.dashboard.style import SCRIPT, STYLE

__all__ = ["document", "nothing", "section", "table"]


def document(title: str, now: float, sections: Iterable[str], up: str) -> str:
    """A whole page of sections; `up` leads to the overview, `now` is epoch seconds."""
    when = time.strftime("%H:%M:%S UTC", time.gmtime(now))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<header><h1><a href="{up or "."}">refmesh</a></h1><nav><a href="{up}#graph">Graph</a>'
        f'<a href="{up}#traffic">Traffic</a><a href="{up}#traces">Traces</a><a href="{up}#config">Configuration</a>'
        f'<a href="{up}#certificates">Certificates</a></nav>'
        f'<span class="dim" id="when" data-live>as of {when}, the last minute</span></header>'
        f"<main>{''.join(sections)}</main><script>{SCRIPT}</script></body></html>"
    )


def section(key: str, title: str, inner: str) -> str:
    """A part of a page that is kept up to date while it is open."""
    return f'<section id="{key}" data-live><h2>{title}</h2>{inner}</section>'


def nothing(text: str) -> str:
    """A sentence where there is nothing else to show."""
    return f'<p class="dim">{text}</p>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (), long: int = -1) -> str:
    """A table of cells that are HTML already."""

    def kind(place: int) -> str:
        return ' class="num"' if place in numbers else ' class="long"' if place == long else ""

    head = "".join(f"<th{kind(place)}>{text}</th>" for place, text in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(f'<td{kind(place)}>{cell}</td>' for place, cell in enumerate(row))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
