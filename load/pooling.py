"""Percentiles of blocks taken together, of any mixture of them: a bootstrap asks for thousands of mixtures. Pure.

What is rare is in few blocks. A mean over the percentiles of single blocks loses it, all the more when trimmed; the
percentile of all requests together holds it for as much as it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from load.histograms import counts, decode

__all__ = ["Pool"]


class Pool:
    """Blocks by their encoded histograms."""

    def __init__(self, encoded: Sequence[str]) -> None:
        blocks = [counts(decode(text)) for text in encoded]
        self._values = sorted(set().union(*blocks))
        columns = [list(accumulate(block.get(value, 0) for value in self._values)) for block in blocks]
        self._up_to = list(zip(*columns, strict=True))
        """For each value how many requests of each block took that long or less."""

    def percentiles(self, percents: Sequence[float], times: Sequence[int]) -> list[float]:
        """Of all requests, where those of each block count as often as `times` says; in µs, as HdrHistogram has them.

        Raises ValueError where that is no request at all.
        """

        def together(row: Sequence[int]) -> int:
            return sum(map(mul, row, times))

        total = together(self._up_to[-1]) if self._up_to else 0
        if not total:
            raise ValueError("no request, no percentile")
        ranks = (max(1, int(percent * total / 100 + 0.5)) for percent in percents)
        return [float(self._values[bisect_left(self._up_to, rank, key=together)]) for rank in ranks]
