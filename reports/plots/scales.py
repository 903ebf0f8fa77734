"""Scales, ticks and the reading of plot data that other rooms wrote. Pure; what is no number is left out."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Series", "log_ticks", "mappings", "nice_ticks", "read_series", "real", "thinned", "words"]

_MOST_POINTS = 360


@dataclass(frozen=True)
class Series:
    """One named line; a value of None is a gap."""

    name: str
    unit: str
    points: tuple[tuple[float, float | None], ...]


def real(value: object) -> float | None:
    """`value` as a finite float, None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def words(value: object, default: str = "") -> str:
    """`value` when it is text."""
    return value if isinstance(value, str) else default


def mappings(data: object, key: str) -> list[Mapping[str, Any]]:
    """The objects in the list `data[key]`; nothing when the shape is another."""
    found = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [item for item in found if isinstance(item, Mapping)]


def read_series(data: object, key: str) -> list[Series]:
    """The series under `key`, sorted by x, those without a single point left out."""
    found = []
    for item in mappings(data, key):
        raw = item.get("points")
        pairs = raw if isinstance(raw, Sequence) and not isinstance(raw, str) else ()
        points = []
        for pair in pairs:
            if isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) >= 2:
                x = real(pair[0])
                if x is not None:
                    points.append((x, real(pair[1])))
        if any(y is not None for _, y in points):
            points.sort(key=lambda point: point[0])
            found.append(Series(words(item.get("name"), "series"), words(item.get("unit")), tuple(points)))
    return found


def thinned(points: tuple[tuple[float, float | None], ...]) -> list[tuple[float, float | None]]:
    """At most a few hundred points: of each bucket the lowest and the highest, so that no spike is lost."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    size = math.ceil(len(points) / (_MOST_POINTS // 2))
    kept: list[tuple[float, float | None]] = []
    for begin in range(0, len(points), size):
        bucket = points[begin : begin + size]
        solid = [point for point in bucket if point[1] is not None]
        if len(solid) < len(bucket):
            kept.append((bucket[0][0], None))
        if solid:
            extremes = {min(solid, key=lambda point: point[1] or 0.0), max(solid, key=lambda point: point[1] or 0.0)}
            kept.extend(sorted(extremes))
    return kept


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Round values from at or below `low` to at or above `high`, at most about `most` of them."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / max(most - 1, 1)
    if raw < sys.float_info.min or not math.isfinite(raw):  # powers of ten below the smallest normal number are 0
        return [low, high]
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw), 10 * magnitude)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, min(last, first + 50) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1-2-5 values (or decades, where there are many) enclosing `low`..`high`, both above 0."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = [tick for tick in every if tick <= low]
    above = [tick for tick in every if tick >= high]
    lowest, highest = (below or every)[-1 if below else 0], (above or every)[0 if above else -1]
    return [tick for tick in every if lowest <= tick <= highest]
