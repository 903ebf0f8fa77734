"""Latency by percentile, the axis stretched like an HDR plot: every nine gets the same room."""

from __future__ import annotations

import math

from reports.plots import svg
from reports.plots.scales import Series, log_ticks, nice_ticks, read_series
from reports.words import micros, number

__all__ = ["percentiles"]

_TICKS = (0.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_LOWEST = 1e-3  # below this a value is no latency, and a logarithm of it no use
_LOG_FROM = 12.0  # highest over lowest value from which a linear axis would flatten the lower arms


def percentiles(data: object, title: str, width: float = 860) -> str:
    """The plot as SVG `width` units wide; empty when `data` holds nothing to draw."""
    arms = read_series(data, "arms")
    solid = {one.name: [(x, y) for x, y in one.points if y is not None and 0 <= x <= 100] for one in arms}
    arms = [one for one in arms if solid[one.name]]
    if not arms:
        return ""
    # 100 % lies at infinity; it is drawn one step of its arm's own resolution beyond the last finite percentile.
    finite = [x for points in solid.values() for x, _ in points if x < 100]
    furthest = min(max([*finite, 90.0]), 99.9999)
    reach = _nines(furthest) * 1.06
    left, right, height = 64.0, width - 14.0, 300.0 if width > 600 else 240.0
    legend_rows = _legend(arms, right - left)
    top = len(legend_rows) * 17 + 10.0
    values = [y for points in solid.values() for _, y in points]
    logarithmic = min(values) >= _LOWEST and max(values) / min(values) > _LOG_FROM
    ticks = log_ticks(min(values), max(values)) if logarithmic else nice_ticks(0.0, max(*values, 1e-9), 6)
    low, high = ticks[0], ticks[-1]

    def x_of(percentile: float) -> float:
        return left + min(_nines(percentile) if percentile < 100 else reach, reach) / reach * (right - left)

    def y_of(value: float) -> float:
        if logarithmic:
            share = math.log(value / low) / math.log(high / low) if high > low else 0.5
        else:
            share = (value - low) / (high - low)
        return top + height - share * height

    unit = arms[0].unit
    form = micros if unit in ("µs", "us", "") else lambda value: f"{number(value)} {unit}"
    drawn = []
    for tick in ticks:
        drawn.append(svg.line(left, y_of(tick), right, y_of(tick), "grid"))
        drawn.append(svg.text(form(tick), left - 8, y_of(tick) + 3.5, "tick", "end"))
    for percent in _TICKS:
        if percent > furthest or (percent == 75.0 and width < 600):
            continue
        drawn.append(svg.line(x_of(percent), top, x_of(percent), top + height, "grid"))
        drawn.append(svg.text(f"{percent:g} %", x_of(percent), top + height + 16, "tick", "middle"))
    for index, one in enumerate(arms):
        points: list[tuple[float, float] | None] = [(x_of(x), y_of(y)) for x, y in solid[one.name]]
        drawn.append(svg.path(points, f"s{index % 6} curve"))
    for row, entries in enumerate(legend_rows):
        for offset, name, index in entries:
            y = row * 17 + 12.0
            drawn.append(svg.line(left + offset, y - 4, left + offset + 16, y - 4, f"s{index % 6} key"))
            drawn.append(svg.text(name, left + offset + 21, y, "legend"))
    return svg.document(width, top + height + 26, title, "plot percentiles", "".join(drawn))


def _nines(percentile: float) -> float:
    return -math.log10(1 - min(max(percentile, 0.0), 99.99999) / 100)


def _legend(arms: list[Series], room: float) -> list[list[tuple[float, str, int]]]:
    rows: list[list[tuple[float, str, int]]] = [[]]
    x = 0.0
    for index, one in enumerate(arms):
        wide = svg.text_width(one.name) + 36
        if rows[-1] and x + wide > room:
            rows.append([])
            x = 0.0
        rows[-1].append((x, one.name, index))
        x += wide
    return rows
