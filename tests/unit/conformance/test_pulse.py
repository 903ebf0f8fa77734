from __future__ import annotations

import math

import pytest

from conformance.model import failed, inconclusive, passed
from conformance.pulse import STEADY, Pulse, excused
from reports.model import Verdict

BEATS = tuple((i / 10, 1.0 if i == 20 else 0.002) for i in range(50))


def test_only_beats_under_way_tell_of_a_stall():
    pulse = Pulse(10.0, BEATS)
    assert pulse.stall(0.0, 1.9) == 0.002
    assert pulse.stall(2.5, 2.6) == 1.0
    assert pulse.stall(3.1, 4.0) == 0.002
    assert STEADY.stall(0.0, 100.0) == 0.0


def test_missing_beats_are_no_sign_of_health():
    assert Pulse(10.0, BEATS).stall(4.0, 9.0) == math.inf
    assert Pulse(10.0, ()).stall(0.0, 0.01) == math.inf


@pytest.mark.parametrize(
    ("judgement", "stall", "verdict"),
    [
        (failed("bad"), 0.1, Verdict.FAIL),
        (failed("bad"), 3.0, Verdict.INCONCLUSIVE),
        (failed("bad"), math.inf, Verdict.INCONCLUSIVE),
        (passed("fine"), 3.0, Verdict.PASS),
        (inconclusive("thin"), 3.0, Verdict.INCONCLUSIVE),
    ],
)
def test_only_failures_are_excused(judgement, stall, verdict):
    found = excused(judgement, stall, 0.5)
    assert found.verdict is verdict
    assert judgement.reason in found.reason


def test_two_pulses_stall_where_either_does():
    quick = Pulse(10.0, tuple((i / 10, 0.01) for i in range(100)))
    slow = Pulse(10.0, tuple((i / 10, 2.0 if i == 50 else 0.01) for i in range(100)))
    both = quick.beside(slow)
    assert both.stall(1.0, 3.0) == 0.01
    assert both.stall(4.5, 6.0) == 2.0
    # of one that is missing nothing can be said
    assert quick.beside(Pulse(10.0, ())).stall(1.0, 3.0) == math.inf
