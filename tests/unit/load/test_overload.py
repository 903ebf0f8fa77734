import heapq
import random
from dataclasses import replace

import pytest

from load.blocks import AGAIN, BASE, MESHED, Block
from load.comparison import measurement
from load.histograms import encode, histogram
from load.overload import overload
from load.plan import SHORT, Plan
from reports.model import Verdict

FAST = Plan(rate=2000)


def regular(seconds):
    return lambda source: seconds * (0.7 + 0.6 * source.random())


def tailed(middle):
    """Heavy tails: one answer in fifty takes eight times as long as that in the middle."""
    return lambda source: middle * source.lognormvariate(0, 1)


def queued(plan, pair, arm, service, source, late_us=50.0, stall=0.0):
    """A block of requests that share the plan's connections; the first of them stands still for `stall` seconds."""
    free = [0.0] * plan.users
    rows = []
    for index in range(plan.warmup_requests + round(plan.rate * plan.block_seconds)):
        due = index / plan.rate
        sent = max(due, heapq.heappop(free)) + late_us / 1e6
        done = sent + service(source) + (stall if index in range(20, 20 + plan.users) else 0.0)
        heapq.heappush(free, done)
        rows.append((done - due, done - sent, sent - due))
    latency, served, lag = (encode(histogram(one)) for one in zip(*rows[plan.warmup_requests :], strict=True))
    counted = len(rows) - plan.warmup_requests
    return Block(pair, arm, counted, len(rows), 0, latency, served, lag, encode(histogram([late_us / 1e6] * 50)))


def measured(plan, plain, meshed, pairs=10, **more):
    source = random.Random(1)
    arms = ((BASE, plain), (AGAIN, plain), (MESHED, meshed))
    return [queued(plan, pair, arm, service, source, **more) for pair in range(pairs) for arm, service in arms]


def test_an_arm_in_which_requests_queue_has_no_figure_but_advice():
    given = measured(FAST, regular(0.0012), regular(0.0025))
    result = measurement(given, FAST, id="LAT01", started=1, seconds=2, meshed=True, usage={}, detail={})
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reason.startswith("at 2000/s the arm with the mesh is overloaded: 4 connections, each busy")
    assert "for 2.51 ms, take 1596/s at most" in result.reason
    assert result.reason.endswith("a lower rate: --rate 798")
    half = Plan(rate=798)
    assert not overload(measured(half, regular(0.0012), regular(0.0025)), half)


def test_the_slowest_arm_is_named_with_a_rate_that_it_takes_and_blocks_that_have_a_p99():
    both = overload(measured(SHORT, regular(0.018), regular(0.024)), SHORT)
    assert "with the mesh" in both
    assert both.endswith("--rate 83 --block-seconds 1.205")
    long = replace(SHORT, short=False, block_seconds=2.0)
    assert overload(measured(long, regular(0.018), regular(0.024)), long).endswith("--rate 83")
    plain = [b for b in measured(SHORT, regular(0.02), regular(0.02)) if b.arm != MESHED]
    assert "without the mesh is overloaded" in overload(plain, SHORT)


@pytest.mark.parametrize(
    ("plain", "meshed", "more"),
    [
        (regular(0.0004), regular(0.0018), {}),
        (regular(0.0004), regular(0.0018), {"late_us": 900.0}),  # timers that lag by more than an answer takes
        (tailed(0.002), tailed(0.006), {}),  # busy for most of the time, and seldom all at once
        (regular(0.002), regular(0.012), {}),
        (regular(0.0004), regular(0.0018), {"stall": 0.1}),  # in every block
    ],
)
def test_a_slow_machine_is_not_an_overloaded_one(plain, meshed, more):
    assert not overload(measured(SHORT, plain, meshed, **more), SHORT)


def test_long_stalls_of_a_few_blocks_are_no_overload():
    given, source = measured(SHORT, regular(0.0004), regular(0.004)), random.Random(2)
    stalled = [queued(SHORT, 10 + pair, MESHED, regular(0.004), source, stall=1.9) for pair in range(4)]
    assert not overload([*given, *stalled], SHORT)
    assert overload(stalled, SHORT)


def test_nothing_that_counts_is_no_overload():
    assert not overload([], SHORT)
