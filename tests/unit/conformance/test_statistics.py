from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conformance.statistics import (
    FEWEST,
    MOST,
    Decision,
    Sprt,
    acceptance_region,
    fixed_samples,
    missed,
    never_seen_samples,
    next_samples,
    shares_decision,
    surely_rejected,
    tail_at_least,
    tail_at_most,
    wilson_interval,
)

shares = st.floats(0.01, 0.99)


@given(st.integers(0, 300), st.integers(1, 300), shares)
def test_tails_equal_scipys(a, n, p):
    k = min(a, n)
    assert tail_at_most(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), rel=1e-8, abs=1e-14)
    assert tail_at_least(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-8, abs=1e-14)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_a_count_outside_its_total_is_refused(k, n):
    with pytest.raises(ValueError, match="not a count"):
        Sprt(0.5, 0.05, 1e-5, 1e-3).decide(k, n)


@pytest.mark.parametrize("declared", [0.9, 0.7, 0.5, 0.2])
def test_fixed_plan_keeps_both_error_rates_exactly(declared):
    size = fixed_samples(declared, 0.05, 1e-5, 1e-3)
    low, high = acceptance_region(declared, size, 1e-5)
    false_alarm = stats.binom.cdf(low - 1, size, declared) + stats.binom.sf(high, size, declared)
    assert false_alarm <= 1e-5
    for real in (declared - 0.05, declared + 0.05):
        assert missed(declared, real, size, 1e-5) <= 1e-3
        assert missed(declared, real, size, 1e-5) == pytest.approx(
            stats.binom.cdf(high, size, real) - stats.binom.cdf(low - 1, size, real), abs=1e-9
        )


def test_never_seen_samples_is_the_smallest_that_suffices():
    size = never_seen_samples(0.01, 1e-3)
    assert 0.99**size <= 1e-3 < 0.99 ** (size - 1)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_interval_contains_the_share(a, n):
    k = min(a, n)
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1


@given(shares, st.integers(0, 2000), st.integers(0, 2000))
def test_sprt_agrees_with_its_likelihood_ratios(p, a, b):
    k, n = min(a, b), max(a, b)
    test = Sprt(p, 0.05, 1e-5, 1e-3)
    ratios = []
    for other in test.alternatives:
        here, there = stats.binom.logpmf(k, n, p), stats.binom.logpmf(k, n, other)
        ratios.append(there - here)
    assert test.against(k, n) == pytest.approx(max(ratios), rel=1e-6, abs=1e-6)
    if any(abs(ratio - edge) < 1e-6 for ratio in ratios for edge in (math.log(2e5), math.log(1e-3))):
        return
    if any(ratio >= math.log(2e5) for ratio in ratios):
        expected = Decision.REJECT
    elif all(ratio <= math.log(1e-3) for ratio in ratios):
        expected = Decision.ACCEPT
    else:
        expected = Decision.GO_ON
    assert test.decide(k, n) is expected


def test_no_sample_decides_nothing():
    assert Sprt(0.9, 0.05, 1e-5, 1e-3).decide(0, 0) is Decision.GO_ON
    assert shares_decision({}, {"a": 1, "b": 1}, delta=0.05, alpha=1e-5, beta=1e-3)[0] is Decision.GO_ON


def test_what_was_declared_impossible_is_rejected_at_once():
    assert Sprt(0.0, 0.05, 1e-5, 1e-3).decide(1, 1000) is Decision.REJECT
    assert Sprt(1.0, 0.05, 1e-5, 1e-3).decide(999, 1000) is Decision.REJECT


def walk(test: Sprt, real: float, seed: int) -> tuple[Decision, int]:
    rng = random.Random(seed)
    hits = total = 0
    while total < test.most_samples:
        more = next_samples({"hit": test}, {"hit": hits}, total)
        hits += sum(rng.random() < real for _ in range(more))
        total += more
        decision = test.decide(hits, total)
        if decision is not Decision.GO_ON:
            return decision, total
    return Decision.GO_ON, total


@given(st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.99]), st.integers(0, 3000), st.floats(0, 1))
def test_the_next_look_comes_about_when_a_correct_share_is_decided(declared: float, total: int, seen: float) -> None:
    test, hits = Sprt(declared, 0.05, 1e-5, 1e-3), round(total * seen)
    left, decision = test.left(hits, total), test.decide(hits, total)
    more = next_samples({"hit": test}, {"hit": hits}, total)
    assert more == (min(max(left, FEWEST), MOST) if decision is Decision.GO_ON else 0)
    if 0.05 < declared < 0.95:
        assert (left <= 0) is (decision is Decision.ACCEPT)


@pytest.mark.parametrize("declared", [0.1, 0.3, 0.5, 0.9])
def test_a_share_that_is_met_exactly_is_accepted_when_it_was_said(declared: float) -> None:
    test = Sprt(declared, 0.05, 1e-5, 1e-3)
    whole = math.ceil(test.left(0, 0) / 10) * 10
    assert test.decide(round(whole * declared), whole) is Decision.ACCEPT
    assert test.decide(round((whole - 20) * declared), whole - 20) is Decision.GO_ON


def test_simulated_walks_decide_rightly_and_soon():
    test = Sprt(0.9, 0.05, 1e-5, 1e-3)
    right = [walk(test, 0.9, seed) for seed in range(60)]
    assert all(decision is Decision.ACCEPT for decision, _ in right)
    # the sequential test is there for its price: less than half of the fixed plan on average
    assert sum(total for _, total in right) / len(right) < fixed_samples(0.9, 0.05, 1e-5, 1e-3) / 2
    for real in (0.85, 0.95, 0.5):
        assert all(walk(test, real, seed)[0] is Decision.REJECT for seed in range(60))


def test_three_shares_divide_alpha():
    decision, proportions, tests = shares_decision(
        {"a": 700, "b": 200, "c": 100}, {"a": 70, "b": 20, "c": 10}, delta=0.05, alpha=3e-5, beta=1e-3
    )
    assert [test.alpha for test in tests] == [pytest.approx(1e-5)] * 3
    assert decision is Decision.GO_ON  # the 70 % share needs more samples than the others
    assert [one.against for one in proportions] == [
        test.against(one.seen, 1000) for one, test in zip(proportions, tests, strict=True)
    ]
    assert proportions[0].text == "a: declared 70.0 %, seen 70.0 % (700 of 1000)"
    with pytest.raises(ValueError, match="positive"):
        shares_decision({}, {"a": 0}, delta=0.05, alpha=1e-5, beta=1e-3)


@pytest.mark.parametrize("bad", [{"declared": 2.0}, {"delta": 0.0}, {"alpha": 0.0}, {"beta": 1.0}])
def test_senseless_plans_are_refused(bad):
    with pytest.raises(ValueError, match="between"):
        Sprt(**{"declared": 0.9, "delta": 0.05, "alpha": 1e-5, "beta": 1e-3} | bad)


@given(st.integers(0, 600), st.integers(0, 600), st.integers(0, 8), st.sampled_from([0.1, 0.3, 0.5, 0.9]))
def test_surely_rejected_is_rejected_whatever_the_unknown_ones_were(one, other, unknown, share):
    weights = {"a": round(1000 * share), "b": 1000 - round(1000 * share)}
    rule = {"delta": 0.05, "alpha": 1e-5, "beta": 1e-3}
    every = {
        shares_decision({"a": one + some, "b": other + unknown - some}, weights, **rule)[0]
        for some in range(unknown + 1)
    }
    assert surely_rejected({"a": one, "b": other}, weights, unknown, **rule) == (every == {Decision.REJECT})
