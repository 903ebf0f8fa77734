"""Judges of retries, time limits, faults and rate limits, on sound histories and on those of single defects."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from conformance.checks.faults import (
    Aborted,
    Delayed,
    Limited,
    judge_aborted,
    judge_delayed,
    judge_limited,
)
from conformance.checks.patience import Timed, Tries, judge_timeout, judge_tries
from conformance.checks.retries import Attempts, Budget, judge_attempts, judge_budget
from fixtures.workloads.traffic import Record
from reports.model import Verdict

SERVED = {"version": "v1"}


def answer(status: int = 200, seconds: float = 0.01, *, ours: bool = True) -> Record:
    return Record(0.0, seconds, status=status, reply=SERVED if ours else None)


def attempts(counted: int, status: int = 200, *, least: int = 3, most: int = 3, wanted: int = 200) -> Verdict:
    one = Attempts("version", "case", "GET /", wanted, least, most, answer(status), counted)
    return judge_attempts([one]).verdict


def test_attempts_are_counted_at_the_server():
    assert judge_attempts([]).verdict is Verdict.INCONCLUSIVE
    assert attempts(3) is Verdict.PASS
    assert attempts(1, 503) is Verdict.FAIL  # no retries at all: plain Kubernetes
    assert attempts(40, 503, wanted=503) is Verdict.FAIL  # unlimited
    assert attempts(2, 503, wanted=503) is Verdict.FAIL  # one too few
    assert attempts(3, 503, wanted=503) is Verdict.PASS
    assert attempts(3, least=1, most=1) is Verdict.FAIL  # retries on POST, or of a status not named
    assert attempts(1, least=1, most=1) is Verdict.PASS
    lost = Attempts("version", "case", "GET /", 200, 1, 1, Record(0.0, 1.0, error="reset"), 1)
    assert judge_attempts([lost]).verdict is Verdict.FAIL


LATE = Record(0.0, 3.0, error="timeout")


def test_one_late_request_is_no_verdict_and_a_late_case_is():
    one = Attempts("version", "case", "GET /", 200, 1, 1, answer(), 1)
    late = replace(one, record=LATE)
    assert judge_attempts([one, late, one]).verdict is Verdict.INCONCLUSIVE
    assert judge_attempts([late, late]).verdict is Verdict.FAIL
    assert judge_attempts([one, replace(late, counted=2)]).verdict is Verdict.FAIL
    assert aborted(0.3, others={"served": 99, "timeout": 1}) is Verdict.INCONCLUSIVE
    assert aborted(0.3, others={"timeout": 100}) is Verdict.FAIL
    held, others = (answer(seconds=0.402),) * 9, (answer(),) * 9
    assert judge_delayed(Delayed(0.4, (*held, LATE), others)).verdict is Verdict.INCONCLUSIVE
    assert judge_delayed(Delayed(0.4, (LATE,) * 9, others)).verdict is Verdict.FAIL
    assert judge_delayed(Delayed(0.4, (*held, answer(), LATE), others)).verdict is Verdict.FAIL


def budget(retries: int, **changes: object) -> Verdict:
    sound = Budget(percent=20, least=1, retries=3, in_flight=40, sent=200, counted=200 + retries, errors=())
    return judge_budget(replace(sound, **changes)).verdict  # type: ignore[arg-type]


def test_a_retry_budget():
    assert budget(45) is Verdict.PASS
    assert budget(0) is Verdict.FAIL
    assert budget(600) is Verdict.FAIL  # no budget
    assert budget(-1) is Verdict.INCONCLUSIVE
    assert budget(45, errors=("timeout",)) is Verdict.FAIL
    assert budget(45, sent=0) is Verdict.INCONCLUSIVE
    assert budget(45, percent=70) is Verdict.INCONCLUSIVE  # cannot be told from none


def timed(slow: Record, quick: Record | None = None) -> Verdict:
    return judge_timeout([Timed("version", 1.0, 4.0, (quick or answer(),) * 3, (slow,) * 2)]).verdict


def test_time_limits():
    assert judge_timeout([]).verdict is Verdict.INCONCLUSIVE
    assert timed(answer(504, 1.01, ours=False)) is Verdict.PASS
    assert timed(answer(200, 4.01)) is Verdict.FAIL  # no limit, or a thousandfold
    assert timed(answer(504, 0.3, ours=False)) is Verdict.FAIL  # early
    assert timed(answer(504, 1.01)) is Verdict.FAIL  # the backend's own
    assert timed(Record(0.0, 10.0, error="timeout")) is Verdict.FAIL
    assert timed(answer(504, 4.2, ours=False)) is Verdict.INCONCLUSIVE  # a machine that stalls
    assert timed(answer(504, 1.01, ours=False), answer(504, 1.02, ours=False)) is Verdict.INCONCLUSIVE
    assert timed(answer(504, 1.01, ours=False), answer(503, ours=False)) is Verdict.FAIL
    assert timed(answer(504, 1.01, ours=False), answer(504, 0.01, ours=False)) is Verdict.FAIL


def late_limit(*seconds: float, stall: float = 0.0) -> Verdict:
    slow = tuple(answer(504, one, ours=False) for one in seconds)
    quick = Timed("service", 1.0, 4.0, (answer(),), (answer(504, 1.01, ours=False),), stall)
    return judge_timeout([quick, replace(quick, words="version", slow=slow)]).verdict


def test_a_limit_that_ends_even_the_fastest_request_far_too_late_is_none_unless_a_stall_did_it():
    assert late_limit(1.4, 1.4) is Verdict.PASS
    assert late_limit(1.01, 3.01) is Verdict.PASS  # the machine makes some later, and none earlier
    assert late_limit(3.01, 3.9) is Verdict.FAIL  # three times the limit, or the limit for each of three tries
    assert late_limit(3.01, 3.9, stall=0.7) is Verdict.FAIL  # that long no stall made it
    assert late_limit(3.01, 3.9, stall=0.8) is Verdict.INCONCLUSIVE
    assert late_limit(3.01, 3.9, stall=math.inf) is Verdict.INCONCLUSIVE
    assert late_limit(4.2, 4.2) is Verdict.INCONCLUSIVE


def tries(counted: int, stall: float, seconds: float = 0.01) -> Verdict:
    one = Attempts("version", "first try hangs", "GET /", 200, 2, 2, answer(seconds=seconds), counted)
    return judge_tries(Tries(0.4, (one,), stall)).verdict


def test_limits_of_single_tries():
    assert tries(2, 0.01) is Verdict.PASS
    assert tries(1, 0.01) is Verdict.FAIL  # no such limit: the first try is waited for
    assert tries(1, 0.5) is Verdict.INCONCLUSIVE
    assert tries(2, 0.5) is Verdict.PASS
    assert tries(1, 0.7, seconds=4.0) is Verdict.FAIL  # that long no stall made it
    assert tries(1, 3.9, seconds=4.0) is Verdict.INCONCLUSIVE
    assert tries(2, 0.7, seconds=4.0) is Verdict.FAIL  # nor that
    assert tries(2, 3.9, seconds=4.0) is Verdict.INCONCLUSIVE


def given_up(counted: int, seconds: float, stall: float = 0.5) -> Verdict:
    record = answer(504, seconds, ours=False)
    one = Attempts("service", "every try hangs", "GET /", 504, 3, 3, record, counted)
    return judge_tries(Tries(0.4, (one,), stall)).verdict


def test_a_mesh_that_gives_up_before_the_tries_are_over_fails_on_any_machine():
    assert given_up(1, 0.41) is Verdict.FAIL
    assert given_up(2, 0.81) is Verdict.FAIL
    assert given_up(2, 1.21) is Verdict.INCONCLUSIVE  # so long three tries take, and one may not have come
    assert given_up(2, 1.21, stall=0.01) is Verdict.FAIL
    assert given_up(3, 1.21) is Verdict.PASS


def tried_on(case: str, status: int, counted: int, *seconds: float, stall: float = 0.01) -> Verdict:
    found = (answer(status, one, ours=status == 200) for one in seconds)
    one = tuple(Attempts("service", case, "GET /", status, counted, counted, record, counted) for record in found)
    return judge_tries(Tries(0.4, one, stall)).verdict


def test_a_try_that_ends_far_beyond_its_limit_fails_by_the_fastest_of_its_case():
    assert tried_on("first try hangs", 200, 2, 0.42, 3.2) is Verdict.PASS
    assert tried_on("first try hangs", 200, 2, 1.21, 3.2) is Verdict.FAIL
    assert tried_on("first try hangs", 200, 2, 1.21, 3.2, stall=0.4) is Verdict.INCONCLUSIVE
    assert tried_on("every try hangs", 504, 3, 1.3, 3.7) is Verdict.PASS
    assert tried_on("every try hangs", 504, 3, 3.65, 3.7) is Verdict.FAIL
    assert tried_on("no try hangs", 200, 1, 1.21) is Verdict.PASS  # no limit is about that


def aborted(share: float, total: int = 4000, *, status: int = 418, others: dict[str, int] | None = None, seed: int = 1):
    dice = random.Random(seed)
    counts = Counter(f"status {status}" if dice.random() < share else "served" for _ in range(total))
    other = {"served": 100} if others is None else others
    return judge_aborted(Aborted(418, 30, counts, other, alpha=1e-5)).verdict


@pytest.mark.parametrize("seed", range(5))
def test_a_share_is_aborted(seed):
    assert aborted(0.30, seed=seed) is Verdict.PASS
    assert aborted(0.20, seed=seed) is Verdict.FAIL
    assert aborted(0.40, seed=seed) is Verdict.FAIL


def test_faults_that_are_wrong():
    assert aborted(0.0) is Verdict.FAIL
    assert aborted(1.0) is Verdict.FAIL
    assert aborted(0.3, 20) is Verdict.INCONCLUSIVE
    assert aborted(0.3, 0) is Verdict.INCONCLUSIVE
    assert aborted(0.3, status=503) is Verdict.FAIL
    assert aborted(0.3, others={"served": 70, "status 418": 30}) is Verdict.FAIL  # the wrong rule, too
    assert aborted(0.2, others={"served": 99, "timeout": 1}) is Verdict.FAIL  # off, whatever another rule's was

    def with_late(served: int, stopped: int) -> Verdict:
        counts = {"served": served, "status 418": stopped, "timeout": 1}
        return judge_aborted(Aborted(418, 30, counts, {"served": 100}, alpha=1e-5)).verdict

    assert with_late(3200, 800) is Verdict.FAIL  # off, whatever became of the late one
    assert with_late(2800, 1200) is Verdict.INCONCLUSIVE
    assert aborted(0.3, others={}) is Verdict.INCONCLUSIVE


def delayed(seconds: float, others: float = 0.002, status: int = 200) -> Verdict:
    return judge_delayed(Delayed(0.4, (answer(status, seconds),) * 9, (answer(seconds=others),) * 9)).verdict


def test_delays():
    assert delayed(0.402) is Verdict.PASS
    assert delayed(0.002) is Verdict.FAIL
    assert delayed(0.402, 0.402) is Verdict.FAIL  # the other rule, too
    slow = (*(answer(seconds=0.01),), *(answer(seconds=0.5),) * 8)
    assert judge_delayed(Delayed(0.4, (answer(seconds=0.402),) * 9, slow)).verdict is Verdict.INCONCLUSIVE
    assert delayed(0.402, status=503) is Verdict.FAIL
    assert judge_delayed(Delayed(0.4, (), ())).verdict is Verdict.INCONCLUSIVE


def limited(served: int, refused: int, other: str = "") -> Verdict:
    outcomes = ["served"] * served + ["status 429"] * refused + ([other] if other else [])
    return judge_limited(Limited(10, 1.0, _sent(outcomes))).verdict


def _sent(
    outcomes: Sequence[str], *, begin: float = 100.0, seconds: float = 3.0
) -> tuple[tuple[float, float, str], ...]:
    times = [begin + seconds * index / len(outcomes) for index in range(len(outcomes))]
    return tuple((at, at + 0.01, outcome) for at, outcome in zip(times, outcomes, strict=True))


def test_a_rate_limit_is_judged_by_the_time_it_really_took():
    # The client stood still for three seconds, and then sent all at once: there were two refills, not three.
    late = (*_sent(["served"] * 7, seconds=0.07), *_sent(["status 429"] * 293, begin=103.0, seconds=0.2))
    assert judge_limited(Limited(10, 1.0, late)).verdict is Verdict.FAIL
    late = (*late[:7], *_sent(["served"] * 3, begin=103.0, seconds=0.01), *late[10:])
    assert judge_limited(Limited(10, 1.0, late)).verdict is Verdict.PASS
    # It stood still for ten: so much may be served meanwhile that a limit of this size cannot be told any more.
    longer = (*late, *_sent(["served"] * 60, begin=113.0))
    assert judge_limited(Limited(10, 1.0, longer)).verdict is Verdict.INCONCLUSIVE


def test_rate_limits():
    assert limited(33, 266, "timeout") is Verdict.INCONCLUSIVE
    assert limited(33, 267) is Verdict.PASS
    assert limited(299, 0, "timeout") is Verdict.FAIL
    assert limited(2, 297, "timeout") is Verdict.FAIL
    assert limited(300, 0) is Verdict.FAIL
    assert limited(2, 298) is Verdict.FAIL
    assert limited(33, 10) is Verdict.INCONCLUSIVE
    assert limited(33, 266, "status 503") is Verdict.FAIL
