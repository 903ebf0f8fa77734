import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from load.histograms import CEILING_US, curve, decode, encode, histogram, percentile

seconds = st.lists(st.floats(0, 59), min_size=1, max_size=200)


@settings(deadline=None)
@given(seconds)
def test_a_histogram_survives_the_wire(values):
    there = decode(encode(histogram(values)))
    assert there.get_total_count() == len(values)
    assert there.get_max_value() == pytest.approx(max(1, max(values) * 1e6), rel=1e-2, abs=1)


@settings(deadline=None)
@given(seconds, seconds)
def test_histograms_of_blocks_add_up(first, second):
    both = decode(encode(histogram(first)), encode(histogram(second)))
    assert both.get_total_count() == len(first) + len(second)


@settings(deadline=None)
@given(seconds)
def test_a_curve_never_falls(values):
    points = curve(histogram(values))
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(points))


def test_what_cannot_be_told_apart_is_counted_at_the_edge():
    values = histogram([-1, 0, 3600])
    assert values.get_total_count() == 3
    assert values.get_max_value() == pytest.approx(CEILING_US, rel=1e-2)
    assert values.get_min_value() == 1


def test_no_data_has_no_curve_and_no_percentile():
    assert curve(histogram()) == []
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_lies_within_the_values(values, percent):
    ordered = sorted(values)
    assert ordered[0] - 1e-6 <= percentile(ordered, percent) <= ordered[-1] + 1e-6


def test_percentiles_interpolate():
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.5
    assert percentile([5.0], 99) == 5.0
