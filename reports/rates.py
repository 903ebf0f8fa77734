"""What a count of rare events proves: exact bounds of a probability (Clopper and Pearson, 1934). Pure."""

from __future__ import annotations

import math

__all__ = ["interval", "upper_bound"]


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """The largest probability that `events` in `trials` do not rule out with this confidence; 1 without trials."""
    _check(events, trials, confidence)
    if events == trials:
        return 1.0
    return _solve(events, trials, 1 - confidence)


def interval(events: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a probability."""
    _check(events, trials, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else 1 - _solve(trials - events, trials, tail)
    high = 1.0 if events == trials else _solve(events, trials, tail)
    return low, high


def _check(events: int, trials: int, confidence: float) -> None:
    if not 0 <= events <= trials or not 0 < confidence < 1:
        raise ValueError(f"{events} of {trials} at a confidence of {confidence:g} is no count")


def _solve(events: int, trials: int, tail: float) -> float:
    """The p for which at most `events` of `trials` have the probability `tail`: it falls with p, so by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(events, trials, middle) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(events: int, trials: int, p: float) -> float:
    terms = (
        math.exp(
            math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
            + k * math.log(p) + (trials - k) * math.log1p(-p)
        )
        for k in range(events + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(terms))
