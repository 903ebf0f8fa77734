from __future__ import annotations

import random
from dataclasses import replace

import pytest

from conformance.checks.weights import Split, judge_split
from conformance.checks.weights_change import (
    EACH,
    Entered,
    Moving,
    Turned,
    judge_entered,
    judge_moving,
    judge_turned,
)
from reports.model import Verdict

SOUND = Moving(4, ("v1", "v2") * (2 * EACH), ("v2",) * EACH)


def test_weights_that_move_without_an_error():
    assert judge_moving(SOUND).verdict is Verdict.PASS
    assert judge_moving(Moving(4, (), ())).verdict is Verdict.INCONCLUSIVE
    assert judge_moving(replace(SOUND, after=())).verdict is Verdict.INCONCLUSIVE


def test_weights_that_move_wrongly():
    for changed in (
        replace(SOUND, during=(*SOUND.during, "error: 503")),  # a route before its cluster
        replace(SOUND, after=(*SOUND.after, "error: reset")),
        replace(SOUND, during=(*SOUND.during, "v3")),
        replace(SOUND, after=(*SOUND.after, "v1")),  # zero weight served
        replace(SOUND, during=("v1",) * 240),
        replace(SOUND, during=("v1", "v2", "v3") * 80, after=("v1", "v2", "v3") * 20),  # plain Kubernetes
    ):
        assert judge_moving(changed).verdict is Verdict.FAIL


def test_first_routes_cost_no_request():
    sound = Entered(2, ("v1", "v2", "v3") * EACH, ("v2",) * 20)
    assert judge_entered(sound).verdict is Verdict.PASS
    for changed in (
        replace(sound, during=(*sound.during, "error: 503")),  # a route before its cluster
        replace(sound, after=(*sound.after, "error: 503")),
        replace(sound, after=("v1", "v2", "v3") * 9),  # plain Kubernetes
    ):
        assert judge_entered(changed).verdict is Verdict.FAIL
    for changed in (Entered(2, (), ()), replace(sound, after=()), replace(sound, during=("v2",) * 3 * EACH)):
        assert judge_entered(changed).verdict is Verdict.INCONCLUSIVE


def turned(old_until: float, *, settled: bool = True, extra: tuple[tuple[float, str], ...] = ()) -> Turned:
    steps = [100 + i / 100 for i in range(800)]
    answers = tuple((at, "v1" if at < 101 + old_until else "v2") for at in steps)
    return Turned(101.0, (*answers, *extra), settled)


def test_traffic_that_turns():
    sound = judge_turned(turned(0.2))
    assert sound.verdict is Verdict.PASS
    assert "190 ms" in sound.reason
    assert judge_turned(turned(5.5)).verdict is Verdict.FAIL
    assert judge_turned(replace(turned(5.5), stall=0.9)).verdict is Verdict.FAIL
    assert judge_turned(replace(turned(5.5), stall=5.0)).verdict is Verdict.INCONCLUSIVE  # the machine stood still
    assert judge_turned(turned(0.2, settled=False)).verdict is Verdict.FAIL
    assert judge_turned(turned(0.2, extra=((101.5, "error: 503"),))).verdict is Verdict.FAIL
    assert judge_turned(Turned(101.0, (), settled=False)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("seed", range(10))
def test_a_canary_shows_two_points(seed):
    dice = random.Random(seed)

    def canary(share: float) -> Verdict:
        answers = tuple("v2" if dice.random() < share else "v1" for _ in range(6000))
        return judge_split(Split({"v1": 99, "v2": 1}, answers, 1e-5, delta=0.02)).verdict

    assert canary(0.01) is Verdict.PASS
    assert canary(0.03) is Verdict.FAIL
    assert canary(0.0) is Verdict.FAIL


def test_calls_that_stay_on_one_connection_and_a_hole_that_is_filled():
    halves = Split({"v1": 50, "v2": 50}, ("v1", "v2") * 600, 1e-5, delta=0.1)
    assert judge_split(halves).verdict is Verdict.PASS
    assert judge_split(replace(halves, answers=("v1",) * 400)).verdict is Verdict.FAIL
    hole = Split({"v1": 50, "none": 50}, ("v1", "none") * 600, 1e-5, delta=0.1)
    assert judge_split(hole).verdict is Verdict.PASS
    assert judge_split(replace(hole, answers=("v1",) * 400)).verdict is Verdict.FAIL  # others fill in
    assert judge_split(replace(hole, answers=("v1", "none", "v3") * 300)).verdict is Verdict.FAIL
