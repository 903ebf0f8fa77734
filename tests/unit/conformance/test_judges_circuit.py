from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.arrivals import Arrivals
from conformance.checks.ejection import Answer, Episode
from conformance.checks.ejection_judges import (
    judge_ejected,
    judge_healthy_unaffected,
    judge_nothing_while_ejected,
    judge_returns,
)
from conformance.checks.limits import Burst, Cap, judge_cap
from conformance.pulse import Pulse
from reports.model import Verdict

JUDGES = [judge_ejected, judge_nothing_while_ejected, judge_returns, judge_healthy_unaffected]


def course(*, away: float = 3.6, ended: float = 14.0, healthy_status: int = 200, leak: int = 0) -> Episode:
    """120 requests a second to three hosts in turn; from second 1 the third fails, is ejected for `away` seconds."""
    found, errors, at = [], 0, None
    for i in range(int(ended * 120)):
        start = i / 120
        out = at is not None and at <= start < at + away
        host = "abc"[i % 3]
        if out and host == "c":
            if leak and i % (3 * leak) == 2:
                found.append(Answer(start, 0.002, "c", 200, None))
                continue
            host = "ab"[(i // 3) % 2]
        status = 200
        if host == "c" and start >= 1 and errors < 5:
            status, errors = 500, errors + 1
            if errors == 5:
                at = start + 0.002
        elif host != "c" and start > 2:
            status = healthy_status
        found.append(Answer(start, 0.002, host, status, None))
    at = at or 0.0
    ages = tuple(ended + 0.01 - one.start for one in found if one.pod == "c")
    own = Arrivals(ended, ended + 0.02, 60.0, ages)
    return Episode("c", ("a", "b", "c"), 5, 3.0, 8.0, 16, 1.0, at + 0.1, ended, tuple(found), own)


NOTHING = Episode("c", ("a", "b", "c"), 5, 3.0, 8.0, 16, 1.0, 1.2, 2.0, ())


@pytest.mark.parametrize("judge", JUDGES)
def test_no_data_is_never_a_pass(judge):
    assert judge(NOTHING).verdict is Verdict.INCONCLUSIVE
    no_errors = replace(course(), answers=tuple(one for one in course().answers if one.status == 200))
    assert judge(no_errors).verdict is Verdict.INCONCLUSIVE
    cut = replace(course(), answers=tuple(one for one in course().answers if one.start < 1.4))
    assert judge(cut).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("judge", JUDGES)
def test_a_sound_mesh_passes(judge):
    assert judge(course()).verdict is Verdict.PASS


@pytest.mark.parametrize("judge", JUDGES)
def test_plain_kubernetes_fails(judge):
    assert judge(course(away=0.0)).verdict is Verdict.FAIL


def test_a_host_that_never_returns_fails_one_judge_only():
    never = course(away=1000.0)
    assert [judge(never).verdict for judge in JUDGES] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    assert judge_returns(course(away=1000.0, ended=5.0)).verdict is Verdict.INCONCLUSIVE


def test_a_short_stall_is_no_excuse_for_a_host_that_never_returns():
    never = course(away=1000.0)
    assert judge_returns(replace(never, pulse=beats(0.6, at=5.0))).verdict is Verdict.FAIL
    assert judge_returns(replace(never, pulse=beats(2.0, at=5.0))).verdict is Verdict.INCONCLUSIVE


def test_too_early_and_too_late_are_found():
    assert judge_returns(course(away=1.0)).verdict is Verdict.FAIL
    assert judge_returns(course(away=10.0)).verdict is Verdict.FAIL


def test_a_trickle_to_the_ejected_host_is_found():
    trickle = course(leak=20)
    assert judge_ejected(trickle).verdict is Verdict.PASS
    assert judge_nothing_while_ejected(trickle).verdict is Verdict.FAIL


def own(**changed: Any) -> Episode:
    """A sound course, of which the host itself tells something else."""
    sound = course()
    assert sound.arrivals is not None
    return replace(sound, arrivals=replace(sound.arrivals, **changed))


def test_what_only_the_host_itself_saw_is_found():
    sound = course()
    assert sound.arrivals is not None
    hidden = sound.arrivals.told - (sound.ejected_at or 0.0) - 2.0
    assert judge_nothing_while_ejected(own(ages=(*sound.arrivals.ages, hidden))).verdict is Verdict.FAIL
    late = Answer((sound.ejected_at or 0.0) + 1.1, 1.0, "c", 200, None)  # under way when the ejection took effect
    history = replace(own(ages=(*sound.arrivals.ages, hidden)), answers=(*sound.answers, late))
    assert judge_nothing_while_ejected(history).verdict is Verdict.PASS


@pytest.mark.parametrize("changed", [{"told": 15.0}, {"reach": 11.0}, {"asked": 2.0, "told": 2.1}])
def test_a_host_that_cannot_tell_for_sure_is_no_witness(changed):
    assert judge_nothing_while_ejected(own(**changed)).verdict is Verdict.INCONCLUSIVE
    assert judge_nothing_while_ejected(replace(course(), arrivals=None)).verdict is Verdict.INCONCLUSIVE


def test_healthy_hosts_must_not_suffer():
    assert judge_healthy_unaffected(course(healthy_status=503)).verdict is Verdict.FAIL
    lost = course()
    lost = replace(lost, answers=(*lost.answers, Answer(2.0, 0.1, "", None, "reset")))
    assert judge_healthy_unaffected(lost).verdict is Verdict.FAIL


def beats(stall: float = 0.01, at: float = 1.4) -> Pulse:
    """A pulse of 14 seconds; one beat, due at `at`, takes `stall` seconds."""
    return Pulse(20.0, tuple((i / 20, stall if i == round(20 * at) else 0.01) for i in range(281)))


@pytest.mark.parametrize("judge", JUDGES)
def test_a_stalled_machine_excuses_failures_and_nothing_else(judge):
    assert judge(replace(course(away=0.0), pulse=beats(2.0))).verdict is Verdict.INCONCLUSIVE
    assert judge(replace(course(away=0.0), pulse=beats(0.1))).verdict is Verdict.FAIL
    assert judge(replace(course(), pulse=beats(2.0))).verdict is Verdict.PASS


@pytest.mark.parametrize("judge", [judge_ejected, judge_nothing_while_ejected])
def test_a_stall_before_or_after_excuses_nothing(judge):
    assert judge(replace(course(away=0.0), pulse=beats(0.6, at=0.1))).verdict is Verdict.FAIL
    assert judge(replace(course(away=0.0), pulse=beats(0.6, at=9.0))).verdict is Verdict.FAIL


def test_a_failed_request_is_held_against_the_pulse_of_its_own_time():
    lost = replace(course(), answers=(*course().answers, Answer(2.0, 3.0, "", None, "timeout")))
    for judge in (judge_nothing_while_ejected, judge_healthy_unaffected):
        assert judge(replace(lost, pulse=beats(2.0, at=2.5))).verdict is Verdict.INCONCLUSIVE
        assert judge(replace(lost, pulse=beats(2.0, at=9.0))).verdict is Verdict.FAIL


def test_an_ejection_may_take_effect_a_little_late():
    """The host answers for another 0.7 s, as seen with forty runnable processes on two cores."""
    sound = course()
    at = sound.ejected_at or 0.0
    late = tuple(Answer(at + i / 100, 0.002, "c", 200, None) for i in range(1, 70))
    history = replace(sound, answers=(*sound.answers, *late))
    assert [judge(history).verdict for judge in JUDGES] == [Verdict.PASS] * 4


def test_a_host_that_was_healed_late_and_failed_again_after_its_return_had_been_ejected():
    sound = course()
    at = sound.ejected_at or 0.0
    again = tuple(Answer(at + 3.6 + i / 300, 0.02, "c", 500, None) for i in range(30))
    assert judge_ejected(replace(sound, answers=(*sound.answers, *again))).verdict is Verdict.PASS
    more = tuple(Answer(at + i / 300, 0.02, "c", 500, None) for i in range(30))
    assert judge_ejected(replace(sound, answers=(*sound.answers, *more))).verdict is Verdict.FAIL


def test_a_request_held_up_until_the_host_was_back_is_no_fault():
    sound = course()
    at = sound.ejected_at or 0.0
    held = replace(sound, answers=(*sound.answers, Answer(at + 2.5, 0.8, "c", 200, None)))
    assert judge_nothing_while_ejected(held).verdict is Verdict.PASS
    quick = replace(sound, answers=(*sound.answers, Answer(at + 2.5, 0.1, "c", 200, None)))
    assert judge_nothing_while_ejected(quick).verdict is Verdict.FAIL


def test_the_plot_counts_every_answer():
    history = course()
    data: Any = history.plot.data
    series = data["series"]
    assert sum(value for one in series for _, value in one["points"]) / 4 == len(history.answers)


CALM = Burst(((0.003, 200, None, True),) * 20)


def burst(served: int, refused: int, seconds: float = 0.01, stall: float = 0.01) -> Burst:
    return Burst(((0.61, 200, None, True),) * served + ((seconds, 503, None, False),) * refused, stall)


GOOD = Cap(3, 0.6, CALM, (burst(3, 21), burst(2, 22)), CALM)
RESETS = Burst(((1.0, None, "reset", False),) * 24)
BY_APP = Burst(((0.6, 200, None, True),) * 3 + ((0.6, 503, None, True),) * 21)


@pytest.mark.parametrize(
    ("bursts", "verdict"),
    [
        ((burst(3, 21), burst(2, 22)), Verdict.PASS),
        ((burst(6, 18), burst(3, 21)), Verdict.PASS),  # a little overrun is the worker threads'
        ((), Verdict.INCONCLUSIVE),
        ((burst(3, 2),) * 2, Verdict.INCONCLUSIVE),
        ((burst(24, 0),) * 2, Verdict.FAIL),  # limit ignored, or plain Kubernetes
        ((burst(3, 21), burst(7, 17)), Verdict.FAIL),
        ((burst(3, 21), burst(0, 24)), Verdict.FAIL),
        ((burst(3, 21), burst(3, 21, seconds=0.5)), Verdict.FAIL),
        ((burst(3, 21, seconds=0.5, stall=0.3),), Verdict.PASS),  # late by no more than requests past the cap
        ((burst(3, 21), RESETS), Verdict.FAIL),
        ((burst(3, 21), BY_APP), Verdict.FAIL),
        # Where requests past the cap were slow too, a burst does not count, whatever became of it.
        ((burst(3, 21), burst(3, 21), burst(3, 21, seconds=0.5, stall=0.5)), Verdict.PASS),
        ((burst(3, 21, seconds=0.5, stall=0.5),), Verdict.INCONCLUSIVE),
        ((burst(24, 0, stall=0.5),) * 6, Verdict.INCONCLUSIVE),
        ((burst(3, 21, stall=0.5),) * 6, Verdict.INCONCLUSIVE),
    ],
)
def test_cap(bursts, verdict):
    assert judge_cap(replace(GOOD, bursts=bursts)).verdict is verdict


def test_what_is_within_the_cap_is_not_refused():
    tight = replace(GOOD, bursts=(burst(1, 23),))
    assert judge_cap(replace(tight, least=2)).verdict is Verdict.FAIL
    assert judge_cap(replace(GOOD, least=2)).verdict is Verdict.PASS


def test_within_the_cap_everything_must_be_served():
    assert judge_cap(replace(GOOD, before=Burst(()))).verdict is Verdict.INCONCLUSIVE
    assert judge_cap(replace(GOOD, after=Burst(((0.01, 503, None, False),) * 20))).verdict is Verdict.FAIL
