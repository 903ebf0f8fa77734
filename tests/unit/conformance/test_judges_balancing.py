"""The judges of LB and of CB-04, CB-06, CB-09 on histories made by hand: sound, no mesh, and with each defect."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from conformance.checks.balancing_judges import (
    Arrival,
    Departure,
    Moved,
    Sticky,
    Turns,
    judge_arrival,
    judge_departure,
    judge_sticky,
    judge_turns,
    problem,
)
from conformance.checks.ejection import Answer
from conformance.checks.failover_judges import Failover, judge_failover
from conformance.checks.threshold import (
    Phase,
    Shares,
    Threshold,
    judge_below,
    judge_maximum,
    judge_per_client,
)
from fixtures.workloads.traffic import Record
from reports.model import Verdict

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
HOSTS = ("a", "b", "c", "d")
TURNS = Turns(HOSTS, HOSTS * 50)
DICE = random.Random(7)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (TURNS, PASS),
        (replace(TURNS, answers=("a", *HOSTS * 25, "c", *HOSTS * 25)), PASS),  # a turn began anew
        (replace(TURNS, answers=("a",) * 200), FAIL),  # one connection without a mesh
        (replace(TURNS, answers=tuple(DICE.choices(HOSTS, k=200))), FAIL),  # drawn
        (replace(TURNS, answers=("a", "b") * 100), FAIL),  # two never have a turn
        (replace(TURNS, answers=(*HOSTS * 49, "a", "b", "c", "")), FAIL),
        (replace(TURNS, answers=(*HOSTS * 49, "a", "b", "", ""), late=2), OPEN),  # a busy machine
        (replace(TURNS, answers=(*HOSTS * 49, "a", "b", "", ""), late=1), FAIL),
        (replace(TURNS, answers=("",) * 200, late=200), FAIL),
        (replace(TURNS, answers=("a",) * 199 + ("",), late=1), FAIL),
        (replace(TURNS, answers=HOSTS), OPEN),
        (replace(TURNS, hosts=("a",)), OPEN),
    ],
)
def test_turns_are_told_from_chance(history, verdict):
    assert judge_turns(history).verdict is verdict


def test_turns_tell_how_often_chance_looks_like_them():
    (rate,) = judge_turns(TURNS).error_rates
    assert rate.beta is not None
    assert rate.beta < 1e-9


VALUES = [f"user-{number}" for number in range(24)]
STICKY = Sticky(HOSTS, {value: (HOSTS[index % 4],) * 5 for index, value in enumerate(VALUES)})


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        (STICKY.answers, PASS),
        ({value: tuple(DICE.choices(HOSTS, k=5)) for value in VALUES}, FAIL),  # no mesh, or the key is ignored
        (dict.fromkeys(VALUES, ("a",) * 5), FAIL),
        ({**STICKY.answers, "user-3": ("d", "d", "a", "d", "d")}, FAIL),
        ({**STICKY.answers, "user-3": ("d", "d", "", "d", "d")}, FAIL),
        ({"user-1": ("a",) * 5}, OPEN),
    ],
)
def test_equal_requests_have_one_host(answers, verdict):
    assert judge_sticky(replace(STICKY, answers=answers)).verdict is verdict


@pytest.mark.parametrize(
    ("pods", "late", "verdict"),
    [
        (("d", "d", "", "d", "d"), 1, OPEN),  # a busy machine
        (("d", "", "", "d", "d"), 1, FAIL),  # one of them was lost in another way
        (("d", "d", "", "a", "d"), 1, FAIL),
    ],
)
def test_a_late_request_says_nothing_of_the_others(pods, late, verdict):
    answers = {**STICKY.answers, "user-3": pods}
    assert judge_sticky(replace(STICKY, answers=answers, late=late)).verdict is verdict
    silent = Sticky(HOSTS, dict.fromkeys(VALUES, ("",) * 5), late=120)
    assert judge_sticky(silent).verdict is FAIL


ARRIVAL = Arrival("new", ready=100.0, bound=5.0, first=100.4, after=80, errors=())


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (ARRIVAL, PASS),
        (replace(ARRIVAL, first=99.9), PASS),  # the mesh knew before we did
        (replace(ARRIVAL, first=None), FAIL),  # kept connections without a mesh
        (replace(ARRIVAL, first=106.0), FAIL),
        (replace(ARRIVAL, errors=("reset",)), FAIL),
        (replace(ARRIVAL, queued=3), OPEN),
        (replace(ARRIVAL, errors=("timeout",), queued=3), FAIL),
        (replace(ARRIVAL, after=0), OPEN),
        (replace(ARRIVAL, first=106.0, stall=0.9), FAIL),
        (replace(ARRIVAL, first=106.0, stall=4.0), OPEN),  # the machine stood still
        (replace(ARRIVAL, stall=4.0), PASS),
    ],
)
def test_a_new_host_is_used_in_time(history, verdict):
    assert judge_arrival(history).verdict is verdict


LEFT = (Moved("a", "lost its label", 100.0, 40, 0), Moved("b", "is not ready", 100.0, 40, 0))
DEPARTURE = Departure(5.0, LEFT, 120, ())


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (DEPARTURE, PASS),
        (replace(DEPARTURE, left=(LEFT[0], replace(LEFT[1], late=30))), FAIL),  # not-ready endpoints are included
        (replace(DEPARTURE, left=(replace(LEFT[0], late=1), LEFT[1])), FAIL),  # a deleted one is kept
        (replace(DEPARTURE, left=tuple(replace(one, before=0) for one in LEFT)), FAIL),  # kept connections, no mesh
        (replace(DEPARTURE, left=(replace(LEFT[0], before=0), LEFT[1])), OPEN),  # a balancer prefers others for now
        (replace(DEPARTURE, left=(replace(LEFT[0], before=0), replace(LEFT[1], late=30))), FAIL),
        (replace(DEPARTURE, errors=("status 503",)), FAIL),
        (replace(DEPARTURE, queued=20), OPEN),  # answers of a quarter of a second, forty wanted in one
        (replace(DEPARTURE, errors=("timeout",), queued=20), FAIL),
        (replace(DEPARTURE, after=10), OPEN),
        (replace(DEPARTURE, left=(LEFT[0], replace(LEFT[1], late=30)), stall=4.0), OPEN),
    ],
)
def test_who_left_gets_nothing(history, verdict):
    assert judge_departure(history).verdict is verdict


def test_what_waited_in_the_client_s_own_queue_went_wrong_there():
    queued, hung = (Record(0.0, 3.0, error="timeout", late=late) for late in (2.9, 0.1))
    assert [problem(queued), problem(hung), problem(Record(0.0, 0.1, status=503))] == ["", "timeout", "status 503"]
    assert [queued.queued, hung.queued] == [True, False]


def zoned(near, far, *, broken=10.0, taken=10.2, back=13.3, until=16.0):
    """80 requests a second: to `near`, from `taken` on to `far`, from `back` on to `near` again."""
    answers = []
    for beat in range(720, int(until * 80)):
        at = beat / 80
        host = far if taken <= at < back else near
        status = 500 if broken <= at < broken + 2.0 and host in "abc" else 200
        answers.append(Answer(at, 0.001, host if host in HOSTS else "abcd"[beat % 4], status, None))
    return Failover(("a", "b", "c"), ("d",), broken, 1.0, 3.0, 7.0, tuple(answers))


FAILOVER = zoned("a", "d")


def of_others(history, begin, end, pod="z"):
    """For a while somebody answers, soundly, who is in neither zone."""
    answers = (replace(one, pod=pod, status=200) if begin <= one.start < end else one for one in history.answers)
    return replace(history, answers=tuple(answers))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (FAILOVER, PASS),
        (zoned("any", "any"), FAIL),  # no mesh, or places are ignored
        (zoned("a", "a"), FAIL),  # nobody stands in
        (zoned("a", "d", taken=11.5), FAIL),  # too late
        (zoned("a", "d", back=12.5), FAIL),  # let in too early
        (zoned("a", "d", back=15.9), FAIL),  # hardly back
        (zoned("a", "d", back=30.0), FAIL),  # never back
        (zoned("a", "any"), FAIL),
        (zoned("d", "d"), FAIL),
        (of_others(FAILOVER, 9.0, 30.0), FAIL),  # another Service's pods answer
        (of_others(FAILOVER, 9.0, 9.9), FAIL),
        (of_others(FAILOVER, 11.0, 12.9), FAIL),
        (of_others(FAILOVER, 11.5, 11.6), FAIL),
        (of_others(FAILOVER, 11.0, 12.9, pod=""), FAIL),  # somebody answers who is no pod
        (replace(FAILOVER, answers=FAILOVER.answers[:100]), OPEN),
        (replace(FAILOVER, far=()), OPEN),
        (replace(zoned("a", "d", taken=11.5), stall=0.4), FAIL),
        (replace(zoned("a", "d", taken=11.5), stall=0.8), OPEN),  # the machine stood still
        (replace(zoned("any", "any"), stall=0.8), FAIL),  # which takes no request to another zone
    ],
)
def test_others_stand_in_and_no_longer(history, verdict):
    assert judge_failover(history).verdict is verdict


def phase(errors, serving, *, stall=0.0):
    """Sixty a second: each host fails so often at first; later those that serve take turns.

    Where the client stalls at first, it sends at once what was due meanwhile, before the proxy's workers know of an
    ejection.
    """
    first = [(host, 500) for host in HOSTS for _ in range(errors[host])]
    first += [(HOSTS[index % 4], 200) for index in range(85 - len(first))]
    last = [(serving[index % len(serving)] if serving else "", 200 if serving else 503) for index in range(155)]
    if stall:
        last = [(HOSTS[index % 4], 200) for index in range(155)]
    return Phase(
        tuple(
            Answer(100.0 + max(index / 60, stall + index / 1000 if stall else 0.0), 0.01, *said, None)
            for index, said in enumerate((*first, *last))
        )
    )


FOUR, SIX = dict.fromkeys(HOSTS, 4), {"a": 5, "b": 5, "c": 6, "d": 6}
THRESHOLD = Threshold(HOSTS, 5, 50, below=phase(FOUR, HOSTS), beyond=phase(SIX, ("c", "d")))


@pytest.mark.parametrize(
    ("history", "below", "maximum"),
    [
        (THRESHOLD, PASS, PASS),
        (replace(THRESHOLD, beyond=phase(dict.fromkeys(HOSTS, 6), HOSTS)), FAIL, FAIL),  # nothing is in force
        (replace(THRESHOLD, beyond=phase(dict.fromkeys(HOSTS, 5), ())), PASS, FAIL),  # all of them are ejected
        (replace(THRESHOLD, beyond=phase(SIX, ("d",))), PASS, FAIL),
        (replace(THRESHOLD, below=phase(FOUR, ("c", "d"))), FAIL, PASS),  # ejected too early
        (replace(THRESHOLD, below=phase({**FOUR, "a": 5}, HOSTS)), OPEN, OPEN),
        (replace(THRESHOLD, beyond=phase(FOUR, HOSTS)), OPEN, OPEN),
        (replace(THRESHOLD, hosts=("a",)), OPEN, OPEN),
        # the open loop makes up for a stall before the workers know: that is no ejection that does not come
        (replace(THRESHOLD, beyond=phase(SIX, ("c", "d"), stall=5.0)), OPEN, OPEN),
    ],
)
def test_ejection_begins_at_the_threshold_and_ends_at_the_maximum(history, below, maximum):
    assert judge_below(history).verdict is below
    assert judge_maximum(history).verdict is maximum


@pytest.mark.parametrize(
    ("errors", "serving", "said"),
    [
        (SIX, ("c", "d"), "4 errors in a row of each host ejected nobody, 5 did"),
        (SIX, ("a", "b"), "4 errors in a row of each host ejected nobody, at most 6 did"),
        ({**SIX, "b": 6}, ("c", "d"), "4 errors in a row of each host ejected nobody, 5 did"),
    ],
)
def test_cb_09_says_no_more_than_it_saw(errors, serving, said):
    judged = judge_below(replace(THRESHOLD, beyond=phase(errors, serving)))
    assert (judged.verdict, judged.reason) == (PASS, said)


def test_what_is_judged_of_a_phase_is_what_was_sent_late_enough_and_chance_is_told():
    assert all(one.start > 101.4 for one in THRESHOLD.below.last)
    (rate,) = judge_below(THRESHOLD).error_rates
    assert rate.samples == len(THRESHOLD.beyond.last) >= 48
    assert rate.alpha < 1e-5


def test_a_crowd_that_comes_in_two_waves_is_judged_by_the_first():
    def sent(at: float, seconds: float, *, served: bool) -> Record:
        return Record(at, seconds, status=200 if served else 503, reply={"pod": "a"} if served else None)

    def wave(at: float, refused: int) -> list[Record]:
        return [*(sent(at, 3.0, served=True) for _ in range(3)), *(sent(at, 0.0, served=False) for _ in range(refused))]

    asked = [sent(1.0 + index / 10, 0.01, served=True) for index in range(10)]
    found = Shares.of(3, [*wave(0.0, 5), *wave(3.5, 5)], asked)
    assert found == Shares(allowed=3, crowd_served=3, crowd_refused=5, overlap=10, served=10)
    assert judge_per_client(found).verdict is PASS
    everybody = [sent(0.0, 3.0, served=True) for _ in range(16)]
    assert judge_per_client(Shares.of(3, everybody, asked)).verdict is FAIL


def test_of_a_crowd_as_many_are_served_as_its_own_cap_lets_through():
    tight = replace(SHARES, crowd_served=1, crowd_refused=15)
    assert judge_per_client(replace(tight, least=2)).verdict is FAIL
    assert judge_per_client(replace(SHARES, least=2)).verdict is PASS


SHARES = Shares(allowed=3, crowd_served=3, crowd_refused=13, overlap=10, served=10)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (SHARES, PASS),
        (replace(SHARES, crowd_served=16, crowd_refused=0), FAIL),  # no mesh, or the cap is ignored
        (replace(SHARES, served=0), FAIL),  # one cap for all
        (replace(SHARES, overlap=2, served=2), OPEN),
        (replace(SHARES, crowd_served=0, crowd_refused=16), OPEN),
    ],
)
def test_a_cap_is_each_clients_own(history, verdict):
    assert judge_per_client(history).verdict is verdict
