"""The plots: scales, ticks, and well-formed SVG whatever the data."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reports.plots import percentiles, timeline
from reports.plots.scales import log_ticks, nice_ticks, read_series, thinned
from reports.words import duration, micros, number, rate, when
from tests.examples import at_least

finite = st.floats(-1e12, 1e12, allow_nan=False)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["series", "arms", "windows", "marks", "name", "unit", "points", "start", "end", "t"]),
            inner,
        )
    ),
    max_leaves=25,
)


@given(finite, finite, st.integers(2, 12))
@example(0.0, 5e-324, 2)
def test_ticks_enclose(low: float, high: float, most: int) -> None:
    low, high = min(low, high), max(low, high)
    ticks = nice_ticks(low, high, most)
    assert ticks == sorted(ticks)
    assert len(ticks) <= most + 3
    slack = abs(high - low) * 1e-6 + abs(high) * 1e-9
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack


@given(st.floats(1e-3, 1e9), st.floats(1, 1e6))
def test_log_ticks_enclose(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert ticks[0] <= low * 1.0001
    assert ticks[-1] >= low * ratio * 0.9999
    assert ticks[-1] > ticks[0] or ratio < 1.01


@given(st.integers(361, 5000), st.dictionaries(st.integers(0, 360), st.floats(1, 1e6), max_size=5))
def test_thinning_keeps_spikes(length: int, spikes: dict[int, float]) -> None:
    points = tuple((float(x), spikes.get(x, 0.5)) for x in range(length))
    kept = thinned(points)
    assert len(kept) <= 400
    assert max(y for _, y in kept if y is not None) == max(y for _, y in points)
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)


@given(anything, st.sampled_from([360.0, 860.0]))
@at_least(300)
def test_any_data_gives_svg_or_nothing(data: object, width: float) -> None:
    for draw in (timeline, percentiles):
        drawn = draw(data, "title <&>", width)
        if drawn:
            ET.fromstring(drawn)
            assert "nan" not in drawn
            assert "inf" not in drawn.replace("info", "")


def test_timeline_shows_windows_and_marks() -> None:
    data = {
        "series": [
            {"name": "p99", "unit": "ms", "points": [[0, 1], [1, None], [2, 3]]},
            {"name": "sent", "unit": "1/s", "points": [[0, 100], [2, 100]]},
        ],
        "windows": [{"name": "fault <x>", "start": 0.5, "end": 1.5}],
        "marks": [{"name": "detected", "t": 0.75}],
    }
    drawn = timeline(data, "t")
    root = ET.fromstring(drawn)
    classes = [one.get("class") for one in root]
    assert classes.count("window") == 1
    assert classes.count("mark") == 1
    assert sum("curve" in (name or "") for name in classes) == 2
    assert "fault &lt;x&gt;" in drawn
    assert "detected 0.75 s" in drawn


def test_percentile_axis_gives_every_nine_the_same_room() -> None:
    points = [[p, 100 + p] for p in (0, 90, 99, 99.9)]
    root = ET.fromstring(percentiles({"arms": [{"name": "a", "unit": "µs", "points": points}]}, "t"))
    at = {one.text: float(one.get("x", "0")) for one in root if one.get("class") == "tick" and "%" in (one.text or "")}
    assert math.isclose(at["99 %"] - at["90 %"], at["99.9 %"] - at["99 %"], abs_tol=0.2)


def test_series_leave_out_what_is_no_number() -> None:
    data = {"series": [{"name": 3, "points": [[1, 2], [True, 1], ["x", 2], [0, math.inf], [2]]}, {"points": "no"}, 4]}
    (only,) = read_series(data, "series")
    assert only.points == ((0.0, None), (1.0, 2.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (duration(0.34), "340 ms"), (duration(4.24), "4.2 s"), (duration(185), "3 min 05 s"),
        (duration(7300), "2 h 01 min"), (micros(250), "250 µs"), (micros(1500), "1.5 ms"), (micros(2e6), "2 s"),
        (micros(0), "0 µs"), (micros(999.7), "1 ms"), (number(0.99831), "0.9983"), (number(12400), "12\u202f400"),
        (number(3.0), "3"), (rate(1e-5), "1e-05"), (rate(0.002), "0.2 %"), (rate(None), "–"), (rate(0), "0"),
        (when(0), "–"), (when(1e9), "2001-09-09 01:46:40 UTC"),
    ],
)  # fmt: skip
def test_words(text: str, expected: str) -> None:
    assert text == expected


def test_a_time_beyond_the_calendar_stays_a_number() -> None:
    assert "\u202f" in when(1e30)
