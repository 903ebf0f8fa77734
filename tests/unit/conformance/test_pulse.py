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
