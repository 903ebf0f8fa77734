import random
from typing import Any

import pytest

from load.comparison import AGAIN, BASE, MESHED, QUANTILES, Block, compare, measurement
from load.histograms import encode, histogram
from reports.model import Result, Verdict, result_from_json, result_to_json


def block(pair, arm, source, shift_us=0.0, errors=0, lag_us=50.0, late_us=50.0, requests=100):
    took = [1e-6 * (shift_us + 300 + 30 * source.random()) for _ in range(requests)]
    text = encode(histogram(took))
    lag, late = (encode(histogram([us / 1e6] * max(1, requests))) for us in (lag_us, late_us))
    return Block(pair, arm, requests, requests + 10, errors, text, text, lag, late)


def blocks(pairs=10, meshed_us=200.0, again_us=0.0, seed=1):
    source = random.Random(seed)
    shifts = {BASE: 0.0, AGAIN: again_us, MESHED: meshed_us}
    return [block(pair, arm, source, shift) for pair in range(pairs) for arm, shift in shifts.items()]


def judged(given, meshed=True, usage=None) -> Result:
    return measurement(
        given,
        id="LAT01",
        title="t",
        lag_budget_us=1000,
        seed=1,
        started=1.0,
        seconds=2.0,
        meshed=meshed,
        usage=usage or {},
        detail={"seed": 1},
        reproduce="again",
    )


def test_the_shift_is_measured_at_every_quantile():
    found = compare(blocks(), MESHED, BASE, lag_budget_us=1000, seed=1)
    assert found is not None
    for q in QUANTILES:
        interval = found.differences[q]
        assert interval.low <= 200 <= interval.high or abs(interval.estimate - 200) < 5


def test_a_quiet_measurement_passes_and_says_what_it_found():
    result = judged(blocks(), usage={"cpu_seconds": 0.5, "memory_bytes": 64 * 2**20})
    assert result.verdict is Verdict.PASS
    assert "p50 +20" in result.reason
    assert 195 < result.metrics["added_p50_us"] < 205
    assert abs(result.metrics["aa_p50_us"]) < 5
    assert result.metrics["proxy_memory_mib"] == 64
    assert result.metrics["proxy_cpu_ms_per_1000_requests"] == pytest.approx(500 / 1.1)
    plot: Any = result.plots[0].data
    assert [arm["name"] for arm in plot["arms"]] == [BASE, AGAIN, MESHED]
    assert result_from_json(result_to_json(result)) is not None


def test_equal_arms_that_differ_make_it_inconclusive():
    result = judged(blocks(again_us=150.0))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "not quiet" in result.reason


def test_nothing_measured_is_inconclusive():
    assert judged([]).verdict is Verdict.INCONCLUSIVE
    assert judged(blocks(pairs=3)).verdict is Verdict.INCONCLUSIVE


def test_without_a_mesh_it_is_unsupported():
    given = [b for b in blocks() if b.arm != MESHED]
    assert judged(given, meshed=False).verdict is Verdict.UNSUPPORTED


def test_a_slow_mesh_is_not_left_out():
    slow = block(0, MESHED, random.Random(3), shift_us=200_000, lag_us=150_000)
    assert slow.problem(1000) == ""


def test_late_failed_and_empty_blocks_do_not_count():
    source = random.Random(3)
    assert "late" in block(0, BASE, source, late_us=5000).problem(1000)
    assert "failed" in block(0, BASE, source, errors=2).problem(1000)
    assert "no request" in block(0, BASE, source, requests=0).problem(1000)
    bad = [block(pair, MESHED, source, late_us=9000) for pair in range(10)]
    result = judged([b for b in blocks() if b.arm != MESHED] + bad)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.metrics["invalid_blocks"] == 10
