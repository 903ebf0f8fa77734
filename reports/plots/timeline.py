"""An experiment over time: one panel per unit on a shared axis, fault windows shaded, marks as labelled lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.plots import svg
from reports.plots.scales import Series, mappings, nice_ticks, read_series, real, thinned, words
from reports.words import micros, number

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["timeline"]

_ROW = 15.0
_WITH_UNIT = ("%", "ms", "s", "µs")  # units that every tick carries; others are written once, at the panel's corner


@dataclass(frozen=True)
class _Frame:
    """Where the plot area lies and how seconds become x."""

    width: float
    left: float
    right: float
    start: float
    end: float

    def x(self, seconds: float) -> float:
        share = (min(max(seconds, self.start), self.end) - self.start) / (self.end - self.start)
        return self.left + share * (self.right - self.left)


def timeline(data: object, title: str, width: float = 860) -> str:
    """The plot as SVG `width` units wide; empty when `data` holds nothing to draw."""
    panels: dict[str, list[Series]] = {}
    for one in read_series(data, "series"):
        panels.setdefault(one.unit, []).append(one)
    if not panels:
        return ""
    windows = [
        (words(item.get("name"), "window"), begin, end)
        for item in mappings(data, "windows")
        if (begin := real(item.get("start"))) is not None and (end := real(item.get("end"))) is not None and end > begin
    ]
    marks = sorted(
        (at, words(item.get("name"), "mark"))
        for item in mappings(data, "marks")
        if (at := real(item.get("t"))) is not None
    )
    times = [x for group in panels.values() for one in group for x, _ in one.points]
    times += [edge for _, begin, end in windows for edge in (begin, end)] + [at for at, _ in marks]
    start, end = min(times), max(times)
    frame = _Frame(width, 52.0, width - 12.0, min(start, 0.0), end if end > start else start + 1.0)

    labels, rows = _labels(frame, windows, marks)
    top = rows * _ROW + 8.0
    height = 120.0 if width > 600 else 96.0
    legends = [_legend(group, width - 64.0) for group in panels.values()]
    heights = [len(legend) * _ROW + height + 16.0 for legend in legends]
    bottom = top + sum(heights)
    shades = [
        svg.rect(frame.x(a), top - 4, max(frame.x(b) - frame.x(a), 1.0), bottom - top - 8, "window", name)
        for name, a, b in windows
    ]
    lines = [svg.line(frame.x(at), top - 4, frame.x(at), bottom - 12, "mark") for at, _ in marks]
    drawn, y, colour = [], top, 0
    for (unit, group), legend, tall in zip(panels.items(), legends, heights, strict=True):
        drawn.append(_panel(frame, unit, group, legend, y, height, colour))
        y += tall
        colour += len(group)
    axis = [
        svg.text(f"{number(tick)} s", frame.x(tick), bottom + 4, "tick", "middle")
        for tick in nice_ticks(frame.start, frame.end, 9 if width > 600 else 5)
        if frame.start <= tick <= frame.end
    ]
    content = "".join([*shades, *lines, *drawn, *labels, *axis])
    return svg.document(width, bottom + 12, title, "plot timeline", content)


def _labels(
    frame: _Frame, windows: list[tuple[str, float, float]], marks: list[tuple[float, str]]
) -> tuple[list[str], int]:
    """Labels above the panels, each in the first row where it has room; and how many rows they take."""
    wanted = [(frame.x((max(a, frame.start) + min(b, frame.end)) / 2), name, "window-label") for name, a, b in windows]
    wanted += [(frame.x(at), f"{name} {number(round(at, 2))} s", "mark-label") for at, name in marks]
    used: list[list[tuple[float, float]]] = []
    drawn = []
    for middle, raw, class_ in wanted:
        name = raw if len(raw) <= 48 else raw[:47] + "…"
        half = svg.text_width(name) / 2
        x = min(max(middle, frame.left + half), max(frame.right - half, frame.left + half))
        row = next(
            (i for i, taken in enumerate(used) if all(x + half + 6 < a or x - half - 6 > b for a, b in taken)),
            len(used),
        )
        if row == len(used):
            used.append([])
        used[row].append((x - half, x + half))
        drawn.append((x, row, name, class_))
    rows = len(used)
    return [svg.text(name, x, (row + 1) * _ROW - 4, class_, "middle") for x, row, name, class_ in drawn], rows


def _legend(group: list[Series], room: float) -> list[list[tuple[float, Series, int]]]:
    """The names of the series in lines no wider than `room`: (x offset, series, index in the group)."""
    lines: list[list[tuple[float, Series, int]]] = [[]]
    x = 0.0
    for index, one in enumerate(group):
        wide = svg.text_width(one.name) + 30
        if lines[-1] and x + wide > room:
            lines.append([])
            x = 0.0
        lines[-1].append((x, one, index))
        x += wide
    return lines


def _panel(
    frame: _Frame,
    unit: str,
    group: list[Series],
    legend: list[list[tuple[float, Series, int]]],
    top: float,
    height: float,
    colour: int,
) -> str:
    drawn = []
    for row, entries in enumerate(legend):
        y = top + row * _ROW + 8
        for offset, one, index in entries:
            x = frame.left + offset
            drawn.append(svg.line(x, y - 4, x + 14, y - 4, f"s{(colour + index) % 6} key"))
            drawn.append(svg.text(one.name, x + 19, y, "legend"))
    if unit and unit not in _WITH_UNIT:
        drawn.append(svg.text(unit, frame.right, top + 8, "tick", "end"))
    top += len(legend) * _ROW
    values = [y for one in group for _, y in one.points if y is not None]
    highest = max(100.0 if unit == "%" else 0.0, *values)
    ticks = nice_ticks(min(0.0, *values), highest if highest > 0 else 1.0, 4)
    low, high = ticks[0], ticks[-1]

    def y_of(value: float) -> float:
        return top + height - 6 - (value - low) / (high - low) * (height - 14)

    form = _form(unit)
    for tick in ticks:
        drawn.append(svg.line(frame.left, y_of(tick), frame.right, y_of(tick), "grid" if tick else "axis"))
        drawn.append(svg.text(form(tick), frame.left - 6, y_of(tick) + 3.5, "tick", "end"))
    for index, one in enumerate(group):
        points = [None if y is None else (frame.x(x), y_of(y)) for x, y in thinned(one.points)]
        drawn.append(svg.path(points, f"s{(colour + index) % 6} curve"))
    return "".join(drawn)


def _form(unit: str) -> Callable[[float], str]:
    if unit == "µs":
        return micros
    if unit in _WITH_UNIT:
        return lambda value: f"{number(value)} {unit}"
    return number
