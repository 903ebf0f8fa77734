from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.flips import Flips, judge_flips
from conformance.checks.peers_judges import Arm
from conformance.checks.upheaval_judges import (
    Level,
    Levels,
    Load,
    Outage,
    Renewal,
    Rotation,
    Shown,
    judge_budget,
    judge_closed,
    judge_levels,
    judge_renewal,
    judge_rotation,
    load,
    over,
)
from fixtures.workloads.traffic import Record
from reports.model import Verdict

QUIET = Load("new", 100, 0, 100, 0)
KEPT = Load("kept", 100, 0, 4, 4)
FAILING = replace(QUIET, failed=1, example="reset")
LOST = replace(KEPT, opened=5)


def test_records_become_a_load():
    good = Record(1.0, 0.1, 200, fresh=True, reply={"pod": "a"})
    found = load("x", [good, replace(good, fresh=False), replace(good, error="reset", reply=None)], 1)
    assert (found.sent, found.failed, found.opened) == (3, 1, 2)
    assert "reset" in found.problem
    assert QUIET.problem == KEPT.problem == ""
    assert "lost" in LOST.problem


RENEWED = Renewal(15, (Shown(0.0, "a", 10.0), Shown(6.0, "b", 20.0), Shown(11.0, "b", 20.0)), (QUIET, KEPT))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (RENEWED, Verdict.PASS),
        (replace(RENEWED, shown=()), Verdict.FAIL),  # plain Kubernetes
        (replace(RENEWED, shown=(Shown(0.0, "a", 10.0), Shown(11.0, "a", 10.0))), Verdict.FAIL),
        (replace(RENEWED, shown=RENEWED.shown[:2]), Verdict.INCONCLUSIVE),  # not yet beyond the first
        (replace(RENEWED, loads=(FAILING, KEPT)), Verdict.FAIL),
        (replace(RENEWED, shown=RENEWED.shown[:2], loads=(FAILING, KEPT)), Verdict.FAIL),
        (replace(RENEWED, loads=(QUIET, LOST)), Verdict.FAIL),
        (replace(RENEWED, loads=(replace(QUIET, sent=0),)), Verdict.INCONCLUSIVE),
        (replace(RENEWED, loads=(QUIET, replace(KEPT, due=120))), Verdict.INCONCLUSIVE),  # a sixth was left out
        (replace(RENEWED, loads=(QUIET, replace(KEPT, due=110))), Verdict.PASS),
        (replace(RENEWED, loads=(replace(QUIET, due=120), LOST)), Verdict.FAIL),
    ],
)
def test_renewal(history, verdict):
    assert judge_renewal(history).verdict is verdict


REFUSED, SERVED = Arm("old", False, 20, 0, 0, {"tls": 20}), Arm("new", True, 20, 20, 20, {})
ROTATED = Rotation(("r1",), ("r2",), True, 3.0, (QUIET, KEPT), REFUSED, SERVED)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (ROTATED, Verdict.PASS),
        (replace(ROTATED, before=(), after=()), Verdict.FAIL),  # plain Kubernetes
        (replace(ROTATED, after=("r2", "r1")), Verdict.FAIL),
        (replace(ROTATED, after=("r1",)), Verdict.FAIL),
        (replace(ROTATED, loads=(FAILING, KEPT)), Verdict.FAIL),
        (replace(ROTATED, old=replace(REFUSED, answered=20)), Verdict.FAIL),
        (replace(ROTATED, new=replace(SERVED, answered=0)), Verdict.FAIL),
        (replace(ROTATED, new=replace(SERVED, answered=19, ends={"tls": 1})), Verdict.FAIL),
        (replace(ROTATED, new=replace(SERVED, answered=19, ends={"timeout": 1})), Verdict.INCONCLUSIVE),
        (replace(ROTATED, new=replace(SERVED, answered=0, ends={"timeout": 20})), Verdict.FAIL),
        (replace(ROTATED, old=None, new=None), Verdict.INCONCLUSIVE),
        (replace(ROTATED, loads=()), Verdict.INCONCLUSIVE),
        (replace(ROTATED, loads=(replace(QUIET, due=120), KEPT)), Verdict.INCONCLUSIVE),
        (replace(ROTATED, after=("r1",), loads=(replace(QUIET, due=120), KEPT)), Verdict.FAIL),
    ],
)
def test_rotation(history, verdict):
    assert judge_rotation(history).verdict is verdict


def test_no_certificate_to_be_seen_is_no_expired_one():
    assert over((90.0, 0.0), 100.0)  # the server showed one, and shows none any more
    assert not over((0.0, 0.0), 100.0)
    assert not over((90.0, 110.0), 100.0)


AWAY = Outage(True, QUIET, 9.0, REFUSED, True, QUIET)


@pytest.mark.parametrize(
    ("history", "budget", "closed"),
    [
        (AWAY, Verdict.PASS, Verdict.PASS),
        (replace(AWAY, down=False), Verdict.FAIL, Verdict.FAIL),  # plain Kubernetes
        (replace(AWAY, valid_for=-1.0), Verdict.INCONCLUSIVE, Verdict.PASS),
        (replace(AWAY, during=FAILING), Verdict.FAIL, Verdict.INCONCLUSIVE),
        (replace(AWAY, during=FAILING, asked=4.0, sure=5.0), Verdict.FAIL, Verdict.INCONCLUSIVE),
        # the server's certificate is valid still; the client's may be over, which nobody sees
        (replace(AWAY, during=FAILING, asked=6.0, sure=5.0), Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (replace(AWAY, asked=6.0, sure=5.0), Verdict.PASS, Verdict.PASS),
        (replace(AWAY, after=replace(REFUSED, answered=3)), Verdict.PASS, Verdict.FAIL),
        (replace(AWAY, after=replace(REFUSED, served=3)), Verdict.PASS, Verdict.FAIL),
        (replace(AWAY, shown_expired=False), Verdict.PASS, Verdict.INCONCLUSIVE),
        (replace(AWAY, shown_expired=False, after=replace(REFUSED, answered=3)), Verdict.PASS, Verdict.INCONCLUSIVE),
        (replace(AWAY, back=FAILING), Verdict.PASS, Verdict.FAIL),
    ],
)
def test_outage(history, budget, closed):
    assert judge_budget(history).verdict is budget
    assert judge_closed(history).verdict is closed


CLOSED, OPEN = Level("mesh", "refused", 20, 0, 0, 20), Level("namespace", "taken", 20, 20, 40, 20)


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [
        ((CLOSED, OPEN), Verdict.PASS),
        ((), Verdict.INCONCLUSIVE),
        ((CLOSED,), Verdict.INCONCLUSIVE),
        ((replace(CLOSED, answered=20), OPEN), Verdict.FAIL),  # plain Kubernetes
        ((CLOSED, replace(OPEN, answered=0)), Verdict.FAIL),
        ((CLOSED, replace(OPEN, answered=0, ends={"reset": 20})), Verdict.FAIL),
        # one that is late, on a busy machine, tells nothing
        ((CLOSED, replace(OPEN, answered=19, ends={"timeout": 1})), Verdict.INCONCLUSIVE),
        ((replace(CLOSED, ends={"reset": 19, "timeout": 1}), OPEN), Verdict.INCONCLUSIVE),
        ((CLOSED, replace(OPEN, answered=18, ends={"timeout": 1, "reset": 1})), Verdict.FAIL),
        (
            (replace(CLOSED, ends={"reset": 19, "timeout": 1}), replace(OPEN, answered=0, ends={"reset": 20})),
            Verdict.FAIL,
        ),
        # a mesh that drops packets
        ((replace(CLOSED, ends={"timeout": 20}), OPEN), Verdict.PASS),
        ((CLOSED, replace(OPEN, answered=0, ends={"timeout": 20})), Verdict.FAIL),
        ((CLOSED, replace(OPEN, clear=0)), Verdict.INCONCLUSIVE),
        ((replace(CLOSED, meshed=19), OPEN), Verdict.FAIL),
        ((replace(CLOSED, meshed=19, meshed_late=1), OPEN), Verdict.INCONCLUSIVE),
        ((replace(CLOSED, meshed=18, meshed_late=1), OPEN), Verdict.FAIL),
    ],
)
def test_levels(levels, verdict):
    assert judge_levels(Levels(levels)).verdict is verdict


def test_what_waited_in_the_clients_own_queue_is_no_failure_of_the_mesh():
    late = Record(0.0, 10.0, error="timeout", late=9.0)
    hung = Record(0.0, 10.0, error="timeout", late=0.1)
    found = load("x", [late, late, hung])
    assert (found.failed, found.queued) == (1, 2)
    assert load("x", [late]).problem == ""


def test_a_connection_that_went_with_a_request_from_the_clients_own_queue_was_not_lost_by_the_mesh():
    reply = {"pod": "a"}
    begun = [Record(float(i), 0.1, 200, fresh=True, reply=reply) for i in range(4)]
    queued = Record(9.0, 10.0, error="timeout", late=9.0)
    anew = Record(19.0, 0.1, 200, fresh=True, reply=reply)
    kept = load("kept", [*begun, queued, anew], 4)
    assert (kept.opened, kept.queued) == (5, 1)
    assert judge_renewal(replace(RENEWED, loads=(QUIET, kept))).verdict is Verdict.INCONCLUSIVE
    assert judge_rotation(replace(ROTATED, loads=(QUIET, kept))).verdict is Verdict.INCONCLUSIVE
    # one more than the queue explains
    assert "1 kept connections were lost" in load("kept", [*begun, queued, anew, anew], 4).problem


TURNED = Flips((("strict", "refused"), ("permissive", "taken")), (QUIET, KEPT))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (TURNED, Verdict.PASS),
        (replace(TURNED, turns=()), Verdict.INCONCLUSIVE),
        (replace(TURNED, turns=(("strict", "taken"),)), Verdict.FAIL),  # plain Kubernetes
        (replace(TURNED, turns=(("strict", "mixed"),)), Verdict.FAIL),
        (replace(TURNED, turns=(("strict", "refused"), ("permissive", "late"))), Verdict.INCONCLUSIVE),
        (replace(TURNED, loads=(replace(QUIET, queued=14), KEPT)), Verdict.INCONCLUSIVE),
        (replace(TURNED, loads=(replace(QUIET, queued=14), LOST)), Verdict.FAIL),
        (replace(TURNED, loads=(FAILING, KEPT)), Verdict.FAIL),
        (replace(TURNED, loads=(QUIET, LOST)), Verdict.FAIL),
        (replace(TURNED, asked=(90, 12)), Verdict.PASS),
        (replace(TURNED, asked=(90, 0)), Verdict.INCONCLUSIVE),  # no turn but the first met a request
        (replace(TURNED, asked=(90, 0), loads=(QUIET, LOST)), Verdict.FAIL),
    ],
)
def test_flips(history, verdict):
    assert judge_flips(history).verdict is verdict
