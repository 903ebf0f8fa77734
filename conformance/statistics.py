"""The statistics behind every percentage: exact tests with stated error rates, no settling of tolerances by eye.

Pure functions on counts. Nothing here needs scipy (its import alone costs more than most checks); the unit tests
compare every figure with scipy's.

`alpha` is the probability of a false alarm, `beta` that of missing a deviation of `delta`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

__all__ = [
    "FEWEST",
    "MOST",
    "Decision",
    "Proportion",
    "Sprt",
    "acceptance_region",
    "fixed_samples",
    "missed",
    "never_seen_samples",
    "next_samples",
    "overall_decision",
    "share_tests",
    "shares_decision",
    "tail_at_least",
    "tail_at_most",
    "wilson_interval",
]

FEWEST, MOST = 40, 400
"""Samples between two looks at a sequential test."""
_LAST_BIT = 2.0**-60
"""What is smaller than this part of a sum changes nothing of it."""


class Decision(StrEnum):
    """Where a sequential test stands."""

    ACCEPT = "accept"
    REJECT = "reject"
    GO_ON = "go on"


def _log_pmf(k: int, n: int, p: float) -> float:
    """Logarithm of the binomial probability of exactly `k` of `n`; -inf where it is impossible."""
    if p <= 0.0:
        return 0.0 if k == 0 else -math.inf
    if p >= 1.0:
        return 0.0 if k == n else -math.inf
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return choose + k * math.log(p) + (n - k) * math.log1p(-p)


def tail_at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) for X binomial(n, p)."""
    if k >= n:
        return 1.0
    if k >= n * p:  # the greater part, which loses nothing as the rest of a whole
        return 1.0 - tail_at_most(n - k - 1, n, 1.0 - p)
    total, term = 0.0, math.exp(_log_pmf(k, n, p)) if k >= 0 else 0.0
    while k >= 0 and term > total * _LAST_BIT:
        total += term
        term *= k / (n - k + 1) * (1.0 - p) / p
        k -= 1
    return total


def tail_at_least(k: int, n: int, p: float) -> float:
    """P(X >= k) for X binomial(n, p)."""
    return tail_at_most(n - k, n, 1.0 - p)


def never_seen_samples(share: float, beta: float) -> int:
    """How many samples it takes for something with this `share` to be seen at least once but for `beta`."""
    if not 0 < share < 1 or not 0 < beta < 1:
        raise ValueError("share and beta lie between 0 and 1")
    return math.ceil(math.log(beta) / math.log1p(-share))


def wilson_interval(k: int, n: int, z: float = 4.417) -> tuple[float, float]:
    """Wilson's interval of a share; the default `z` is two-sided 1e-5. For people to read, no verdict rests on it."""
    if n == 0:
        return 0.0, 1.0
    share, spread = k / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def _step(one: float, other: float) -> float:
    """log(one / other) with the impossible made infinite."""
    if one <= 0.0:
        return -math.inf
    return math.log(one) - math.log(other)


@dataclass(frozen=True)
class Sprt:
    """Wald's sequential probability ratio test of `p = declared` against `p` off by `delta` to either side.

    Two one-sided tests run side by side, each with half of `alpha`. By Ville's inequality both error rates hold
    exactly, at whatever moments one looks: P(ever rejecting | declared) <= alpha, and
    P(accepting | off by delta or more) <= beta.
    """

    declared: float
    delta: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        if not 0 <= self.declared <= 1 or not 0 < self.delta < 1:
            raise ValueError("a declared share lies between 0 and 1, and delta between them")
        if not 0 < self.alpha < 1 or not 0 < self.beta < 1:
            raise ValueError("alpha and beta lie between 0 and 1")

    @property
    def alternatives(self) -> tuple[float, ...]:
        """The shares that must be told from the declared one, each within 0..1."""
        low, high = self.declared - self.delta, self.declared + self.delta
        within = ([max(low, 0.0)] if self.declared > 0 else []) + ([min(high, 1.0)] if self.declared < 1 else [])
        return tuple(within)

    @property
    def limit(self) -> float:
        """From where on `against` rejects."""
        return math.log(2 / self.alpha)

    def against(self, k: int, n: int) -> float:
        """How many times as likely `k` of `n` is where the share is off by delta as where it is the declared one.

        The logarithm of that ratio, on the side where it is greater. Raises `ValueError` where `k` of `n` is no count.
        """
        if not 0 <= k <= n:
            raise ValueError(f"{k} of {n} is not a count")
        if (k > 0 and self.declared <= 0.0) or (k < n and self.declared >= 1.0):
            return math.inf  # impossible under what was declared
        return max(self._log_ratio(k, n, other) for other in self.alternatives)

    def decide(self, k: int, n: int) -> Decision:
        """What `k` of `n` says so far."""
        against = self.against(k, n)
        if against >= self.limit:
            return Decision.REJECT
        return Decision.ACCEPT if against <= math.log(self.beta) else Decision.GO_ON

    def _log_ratio(self, k: int, n: int, other: float) -> float:
        hits = k * _step(other, self.declared) if k else 0.0
        misses = (n - k) * _step(1 - other, 1 - self.declared) if n - k else 0.0
        return hits + misses

    def left(self, k: int, n: int) -> int:
        """Roughly how many samples more it takes to accept after `k` of `n`, if the share is the declared one.

        Wald's approximation, the worse of the two sides. A share of nothing or everything that must be told from the
        declared one is left out: the first sample against it decides.
        """
        return max(
            math.ceil((self._log_ratio(k, n, other) - math.log(self.beta)) / _divergence(self.declared, other))
            for other in self.alternatives
            if 0 < other < 1
        )

    @property
    def most_samples(self) -> int:
        """Where to stop undecided: three times what a plan of fixed size would take."""
        return 3 * fixed_samples(self.declared, self.delta, self.alpha, self.beta)


def _divergence(p: float, other: float) -> float:
    """Kullback-Leibler divergence of two shares in nats per sample."""
    total = 0.0
    for one, two in ((p, other), (1 - p, 1 - other)):
        if one > 0:
            total += math.inf if two <= 0 else one * math.log(one / two)
    return total


def _normal_quantile(tail: float) -> float:
    """z with P(Z > z) = tail, by bisection on erfc: six digits are plenty for planning."""
    low, high = 0.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if math.erfc(middle / math.sqrt(2)) / 2 > tail:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=256)
def fixed_samples(declared: float, delta: float, alpha: float, beta: float) -> int:
    """Samples for which the exact two-sided binomial test keeps `alpha` and misses `delta` with at most `beta`.

    Starts from the normal approximation and grows until the exact power is there on both sides.
    """
    reject, miss = _normal_quantile(alpha / 2), _normal_quantile(beta)
    others = [one for one in (declared - delta, declared + delta) if 0 <= one <= 1] or [0.5]
    spread = max(math.sqrt(one * (1 - one)) for one in others)
    size = max(20, math.ceil(((reject * math.sqrt(declared * (1 - declared)) + miss * spread) / delta) ** 2))
    while max(missed(declared, other, size, alpha) for other in others) > beta:
        size = math.ceil(size * 1.05) + 1
    return size


def acceptance_region(declared: float, size: int, alpha: float) -> tuple[int, int]:
    """The counts, lowest and highest, that the exact test with alpha/2 in each tail does not reject."""
    low = _edge(lambda k: tail_at_most(k, size, declared) > alpha / 2, size)
    high = size - _edge(lambda k: tail_at_least(size - k, size, declared) > alpha / 2, size)
    return low, high


def _edge(holds: Callable[[int], bool], size: int) -> int:
    """The smallest k in 0..size for which a monotone predicate holds."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def missed(declared: float, real: float, size: int, alpha: float) -> float:
    """The probability that the test of fixed size accepts `declared` while `real` is true."""
    low, high = acceptance_region(declared, size, alpha)
    return max(0.0, min(1.0, tail_at_most(high, size, real) - (tail_at_most(low - 1, size, real) if low else 0.0)))


@dataclass(frozen=True)
class Proportion:
    """One share, declared and seen."""

    name: str
    declared: float
    seen: int
    total: int
    decision: Decision
    against: float
    """See `Sprt.against`; of two shares it is the same for both."""
    interval: tuple[float, float] = field(default=(0.0, 1.0))

    @property
    def text(self) -> str:
        """`v1: declared 90.0 %, seen 91.2 % (912 of 1000)`."""
        share = 100 * self.seen / self.total if self.total else 0.0
        return f"{self.name}: declared {100 * self.declared:.1f} %, seen {share:.1f} % ({self.seen} of {self.total})"


def shares_decision(
    counts: Mapping[str, int], weights: Mapping[str, int], *, delta: float, alpha: float, beta: float
) -> tuple[Decision, tuple[Proportion, ...], tuple[Sprt, ...]]:
    """Judge several shares of one whole. `alpha` is divided among them, so that it holds for the whole.

    With two shares only one is tested: the other is its complement. Rejects if one is rejected, accepts if all are
    accepted. Raises `ValueError` without positive weights.
    """
    tests = share_tests(weights, delta=delta, alpha=alpha, beta=beta)
    whole, total = sum(weights.values()), sum(counts.get(name, 0) for name in weights)
    decisions = {name: test.decide(counts.get(name, 0), total) for name, test in tests.items()}
    against = {name: test.against(counts.get(name, 0), total) for name, test in tests.items()}
    overall = overall_decision(decisions.values())
    proportions = tuple(
        Proportion(
            name,
            weight / whole,
            counts.get(name, 0),
            total,
            decisions.get(name, overall),
            against.get(name, max(against.values())),
            wilson_interval(counts.get(name, 0), total),
        )
        for name, weight in weights.items()
    )
    return overall, proportions, tuple(tests.values())


def surely_rejected(
    counts: Mapping[str, int], weights: Mapping[str, int], unknown: int, *, delta: float, alpha: float, beta: float
) -> bool:
    """Whether `shares_decision` rejects whichever of the shares `unknown` more requests belong to.

    A share is rejected with none of them and with all of them, so with any number of them: a test that rejects two
    counts as too low, or as too high, rejects what lies between. Raises `ValueError` without positive weights.
    """
    tests = share_tests(weights, delta=delta, alpha=alpha, beta=beta)
    total = sum(counts.get(name, 0) for name in weights) + unknown
    return any(
        all(test.decide(counts.get(name, 0) + some, total) is Decision.REJECT for some in (0, unknown))
        for name, test in tests.items()
    )


def share_tests(weights: Mapping[str, int], *, delta: float, alpha: float, beta: float) -> dict[str, Sprt]:
    """The tests of `shares_decision`, by the share that each is about."""
    whole = sum(weights.values())
    if whole <= 0:
        raise ValueError("weights must have a positive sum")
    tested = list(weights)[:1] if len(weights) == 2 else list(weights)
    return {name: Sprt(weights[name] / whole, delta, alpha / len(tested), beta) for name in tested}


def next_samples(tests: Mapping[str, Sprt], counts: Mapping[str, int], total: int) -> int:
    """How many samples to take before looking again, `FEWEST` to `MOST`: about as many as a correct whole still needs.

    0 once it is decided. The error rates hold however often one looks; a look costs about as much as a few samples.
    """
    if overall_decision(test.decide(counts.get(name, 0), total) for name, test in tests.items()) is not Decision.GO_ON:
        return 0
    left = max((test.left(counts.get(name, 0), total) for name, test in tests.items()), default=MOST)
    return min(max(left, FEWEST), MOST)


def overall_decision(decisions: Iterable[Decision]) -> Decision:
    """What several tests say together."""
    all_of_them = set(decisions)
    if Decision.REJECT in all_of_them:
        return Decision.REJECT
    return Decision.ACCEPT if all_of_them == {Decision.ACCEPT} else Decision.GO_ON
