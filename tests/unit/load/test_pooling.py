import random
from operator import sub

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from load.blocks import QUANTILES
from load.histograms import counts, decode, encode, histogram
from load.pooling import Pool
from load.statistics import bootstrap

blocks = st.lists(st.lists(st.floats(1e-6, 59), max_size=30), min_size=1, max_size=6)


@settings(deadline=None, max_examples=30)
@given(blocks, st.data())
def test_a_mixture_has_the_percentiles_of_its_histograms_together(values, data):
    texts = [encode(histogram(one)) for one in values]
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)))
    together = decode(*(text for text, count in zip(texts, times, strict=True) for _ in range(count)))
    if not together.get_total_count():
        with pytest.raises(ValueError, match="no request"):
            Pool(texts).percentiles(QUANTILES, times)
        return
    levels = (0.1, *QUANTILES, 100.0)
    assert Pool(texts).percentiles(levels, times) == [together.get_value_at_percentile(q) for q in levels]


def test_counts_are_those_of_the_library():
    values = histogram([1e-6, 4e-4, 4e-4, 0.25, 3600])
    recorded = {one.value_iterated_to: one.count_at_value_iterated_to for one in values.get_recorded_iterator()}
    assert counts(values) == recorded
    assert sum(recorded.values()) == 5


def test_equal_arms_of_blocks_that_stall_seldom_look_different():
    source, wrong = random.Random(6), [0, 0, 0]
    for run in range(80):
        pools = [Pool([encode(histogram(stalling(source))) for _ in range(10)]) for _ in range(2)]

        def gaps(drawn, pools=pools):
            times = [drawn.count(pair) for pair in range(10)]
            return list(map(sub, *(pool.percentiles(QUANTILES, times) for pool in pools)))

        found = bootstrap(10, gaps, seed=run, resamples=150)
        wrong = [count + (not one.holds_zero) for count, one in zip(wrong, found, strict=True)]
    # Promised is 5 %; 80 runs of a true 7 % show more than 13 once in a thousand series.
    assert max(wrong) <= 13


def stalling(source):
    """Seconds of one block; every second block has a stall of some milliseconds, behind which requests queue."""
    took = [4e-4 * source.lognormvariate(0, 0.5) for _ in range(60)]
    if source.random() < 0.5:
        length = source.uniform(0.004, 0.03)
        for late in range(int(250 * length) + 1):
            took[20 + late] += length - late / 250
    return took
