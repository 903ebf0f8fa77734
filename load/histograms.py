"""Latency histograms in microseconds: HdrHistogram with three significant figures between 1 µs and 60 s.

Held in an encoded form on the wire (the HdrHistogram V2 format, base64), so that any HDR tool can read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hdrh.histogram import HdrHistogram

__all__ = ["CEILING_US", "PERCENTILES", "counts", "curve", "decode", "encode", "histogram", "percentile"]

CEILING_US = 60_000_000
"""The largest latency told apart, in microseconds; longer ones are counted as this."""
FIGURES = 3

PERCENTILES: tuple[float, ...] = (0, 5, 10, 25, 50, 75, 80, 90, 95, 97.5, 99, 99.5, 99.9, 100)
"""The points of a plotted distribution."""


def histogram(seconds: Iterable[float] = ()) -> HdrHistogram:
    """A histogram of durations given in seconds; below 1 µs counts as 1 µs, above the ceiling as the ceiling."""
    made = HdrHistogram(1, CEILING_US, FIGURES)
    for value in seconds:
        made.record_value(min(CEILING_US, max(1, round(value * 1e6))))
    return made


def encode(values: HdrHistogram) -> str:
    """The HdrHistogram V2 compressed form, base64."""
    return bytes(values.encode()).decode("ascii")


def decode(*texts: str) -> HdrHistogram:
    """One histogram holding the counts of all encoded ones."""
    made = histogram()
    for text in texts:
        made.add(HdrHistogram.decode(text))
    return made


def counts(values: HdrHistogram) -> dict[int, int]:
    """How many were recorded of each value, in µs; values that are not told apart count as the largest of them."""
    # The library's own iterator looks at every value up to the largest in Python: tens of milliseconds.
    found = ((index, count) for index, count in enumerate(values.counts[:]) if count)
    return {values.get_highest_equivalent_value(values.get_value_from_index(index)): count for index, count in found}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value at a percentile (0 to 100) of an ascending sequence, interpolated between neighbours.

    Raises ValueError on an empty sequence: no data is never a number.
    """
    if not ordered:
        raise ValueError("no values, no percentile")
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def curve(values: HdrHistogram) -> list[list[float]]:
    """[[percentile, microseconds], …] for a plot; empty when nothing was recorded."""
    if values.get_total_count() == 0:
        return []
    return [[p, float(values.get_value_at_percentile(p))] for p in PERCENTILES]
