"""The few SVG elements the plots are made of. Every text and attribute is escaped here and nowhere else."""

from __future__ import annotations

import html

from reports.words import clean

__all__ = ["document", "line", "path", "rect", "tag", "text", "text_width"]


def tag(name: str, content: str = "", **attributes: str | float) -> str:
    """One element; `content` is SVG already, attribute values are escaped (`class_` is `class`, `_` is `-`)."""
    parts = []
    for key, value in attributes.items():
        shown = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1 else _short(value)
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{html.escape(clean(shown))}"')
    return f"<{name}{''.join(parts)}>{content}</{name}>" if content else f"<{name}{''.join(parts)}/>"


def text(content: str, x: float, y: float, class_: str = "", anchor: str = "start") -> str:
    """A text element."""
    return tag("text", html.escape(clean(content)), x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, title: str = "") -> str:
    """A rectangle, with a tooltip where `title` is given."""
    inner = tag("title", html.escape(clean(title))) if title else ""
    return tag("rect", inner, x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_)


def path(points: list[tuple[float, float] | None], class_: str) -> str:
    """A polyline; None is a gap. A point between two gaps is drawn as a dot-long stroke."""
    commands = []
    pen_down = False
    for point in points:
        if point is None:
            pen_down = False
            continue
        x, y = point
        commands.append(f"{'L' if pen_down else 'M'}{_short(x)} {_short(y)}" + ("" if pen_down else "h0.01"))
        pen_down = True
    return tag("path", d="".join(commands), class_=class_) if commands else ""


def document(width: float, height: float, title: str, class_: str, content: str) -> str:
    """The outer element, readable by a screen reader under its title."""
    return tag(
        "svg",
        content,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        role="img",
        aria_label=title,
        class_=class_,
    )


def text_width(content: str, size: float = 11) -> float:
    """About how wide `content` is in the page's sans-serif; good enough to keep labels apart."""
    return len(content) * size * 0.56


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
