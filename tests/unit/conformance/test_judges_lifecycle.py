"""The judges of LC on histories made by hand: sound, without a mesh, and with what each check is for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.capture_judges import Tries
from conformance.checks.injection import Behaviour
from conformance.checks.lifecycle_judges import (
    Crash,
    Deleted,
    Drain,
    Load,
    Moves,
    Rollout,
    judge_crash,
    judge_deleted,
    judge_drain,
    judge_moves,
    judge_rollout,
)
from fixtures.workloads.traffic import Record
from reports.model import Verdict

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
REFUSED = Tries("plaintext", 3, 0, {"reset": 3})
TAKEN = Tries("plaintext", 3, 3, {})
PARTLY_LATE = Tries("plaintext", 3, 0, {"reset": 2, "timeout": 1})
LOAD = Load(400, (), ("new-1", "new-2", "old-1", "old-2"))
ROLLOUT = Rollout(REFUSED, ("old-1", "old-2"), ("new-1", "new-2"), LOAD)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (ROLLOUT, PASS),
        (replace(ROLLOUT, plaintext=TAKEN), FAIL),  # plain Kubernetes
        (replace(ROLLOUT, plaintext=PARTLY_LATE), OPEN),  # neither taken nor refused
        (replace(ROLLOUT, load=replace(LOAD, errors=("status 503",))), FAIL),
        (replace(ROLLOUT, after=("old-1", "new-2")), OPEN),
        (replace(ROLLOUT, load=replace(LOAD, hosts=("new-1",))), OPEN),
        (replace(ROLLOUT, load=replace(LOAD, hosts=("old-1",))), OPEN),
        (replace(ROLLOUT, load=replace(LOAD, hosts=("new-1", "old-1", "old-2"))), OPEN),  # the other may answer nothing
        (replace(ROLLOUT, load=Load(400, ("reset",), ("old-1", "old-2"))), FAIL),  # the new ones never answered
        (replace(ROLLOUT, load=replace(LOAD, queued=3)), OPEN),  # the client's own doing
        (replace(ROLLOUT, load=replace(LOAD, queued=3, errors=("timeout",))), FAIL),  # they stand behind one that hung
        (replace(ROLLOUT, left=("old-2",)), OPEN),  # and requests to it have not come in vain yet
    ],
)
def test_a_rollout_loses_nothing(history, verdict):
    assert judge_rollout(history).verdict is verdict


DRAIN = Drain(REFUSED, 4.0, 100.0, ((99.0, 103.0, ""), (99.1, 103.1, "")))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (DRAIN, PASS),
        (replace(DRAIN, plaintext=TAKEN), FAIL),  # plain Kubernetes
        (replace(DRAIN, plaintext=PARTLY_LATE), OPEN),
        (replace(DRAIN, outcomes=((99.0, 103.0, ""), (99.1, 100.2, "reset"))), FAIL),  # its proxy went first
        (replace(DRAIN, outcomes=((99.0, 99.5, ""),)), OPEN),
        (replace(DRAIN, outcomes=((101.0, 104.0, ""),)), OPEN),
        (replace(DRAIN, outcomes=()), OPEN),
        (replace(DRAIN, outcomes=((96.0, 100.01, ""),) * 4), OPEN),  # over before a process was told to end
        (replace(DRAIN, outcomes=((96.0, 100.01, ""), (96.0, 100.5, "reset"))), FAIL),
        (replace(DRAIN, outcomes=((96.0, 100.01, ""), (98.1, 102.1, ""))), PASS),
    ],
)
def test_what_is_under_way_is_answered(history, verdict):
    assert judge_drain(history).verdict is verdict


CRASH = Crash(("proxy",), 1, 0, 2.5, 40.0, (REFUSED, REFUSED), missed=2)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (CRASH, PASS),
        (replace(CRASH, added=(), restarts=0), FAIL),  # plain Kubernetes
        (replace(CRASH, back=None), FAIL),
        (replace(CRASH, back=44.0), FAIL),  # later than the limit
        (replace(CRASH, plaintext=(REFUSED, TAKEN)), FAIL),  # open while the proxy is down
        (replace(CRASH, own_restarts=1), FAIL),
        (replace(CRASH, restarts=0), OPEN),
        (replace(CRASH, restarts=0, missed=1), OPEN),  # answered again, and nothing was restarted
        (replace(CRASH, restarts=0, missed=9, back=None), FAIL),  # what never starts is not told of
        (replace(CRASH, missed=0), OPEN),  # back before anybody looked
        (replace(CRASH, missed=0, unwatched=3.0), OPEN),  # the orders took long, and nobody tried meanwhile
        (replace(CRASH, missed=0, unwatched=0.06), PASS),  # its clients were kept waiting until it was back
        (replace(CRASH, missed=0, plaintext=(TAKEN,)), FAIL),
    ],
)
def test_a_crash_heals_and_fails_closed(history, verdict):
    assert judge_crash(history).verdict is verdict


IN = Behaviour("ns/server-1", ("proxy",), "10.0.0.9", ("127.0.0.6",) * 5, tls_answered=True)
OUT = Behaviour("ns/server-2", (), "10.0.0.9", ("10.0.0.9",) * 5, tls_answered=False)
MOVED = Load(400, (), ("server-1", "server-2", "server-3"))
MOVES = Moves((IN, OUT, replace(IN, pod="ns/server-3")), MOVED)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (MOVES, PASS),
        (replace(MOVES, stages=(OUT, OUT, OUT)), FAIL),  # plain Kubernetes
        (replace(MOVES, stages=(IN, IN, IN)), FAIL),
        (replace(MOVES, stages=(IN, OUT, OUT)), FAIL),
        (replace(MOVES, stages=(IN, replace(OUT, tls_answered=True), IN)), FAIL),
        (replace(MOVES, load=replace(MOVED, errors=("reset", "reset"))), FAIL),
        (replace(MOVES, load=Load(0, (), ())), OPEN),  # nobody asked
        (replace(MOVES, load=replace(MOVED, hosts=("server-1", "server-2"))), OPEN),  # over before the last stage
        (replace(MOVES, load=replace(MOVED, queued=1)), OPEN),
        (replace(MOVES, left=("server-1",)), OPEN),
        (replace(MOVES, stages=(IN, OUT)), OPEN),
        (replace(MOVES, stages=(IN, replace(OUT, peers=()), IN)), OPEN),
    ],
)
def test_out_of_the_mesh_and_back(history, verdict):
    assert judge_moves(history).verdict is verdict


GONE = Deleted("v2", ("v2",) * 30, ("v1", "v2") * 15, ())


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (GONE, PASS),
        (replace(GONE, before=("v1", "v2") * 15), FAIL),  # plain Kubernetes
        (replace(GONE, after=("v2",) * 30), FAIL),  # it stays in force
        (replace(GONE, errors=("status 503",)), FAIL),
        (replace(GONE, after=("v1",)), OPEN),
        (replace(GONE, after=("v1", "v2") * 14 + ("v1", ""), errors=("timeout",)), OPEN),  # one was late
        (replace(GONE, after=("v2",) * 29 + ("",), errors=("timeout",)), FAIL),  # the others say it all
        (replace(GONE, after=("v2",) + ("",) * 29, errors=("timeout",) * 29), OPEN),
        (replace(GONE, before=("v2",) * 29 + ("",), errors_before=("timeout",)), OPEN),
        (replace(GONE, before=("v2",) * 29 + ("",), errors_before=("status 503",)), FAIL),
        (replace(GONE, before=()), OPEN),
    ],
)
def test_deleted_configuration_is_gone(history, verdict):
    assert judge_deleted(history).verdict is verdict


def test_a_late_answer_is_no_route_that_was_never_in_force():
    late = replace(GONE, before=("v2",) * 29 + ("",), errors_before=("timeout",))
    assert judge_deleted(late).reason == "1 requests while the route was in force were not answered in time"


def test_load_names_errors_and_hosts():
    found = Load.of(
        [
            Record(0.0, 0.1, status=200, reply={"pod": "a"}),
            Record(0.0, 0.1, status=503),
            Record(0.0, 0.1, error="reset"),
            Record(0.0, 0.1, error="reset"),
            Record(0.0, 10.0, error="timeout", late=9.0),
        ]
    )
    assert (found.sent, found.hosts, found.queued) == (5, ("a",), 1)
    assert found.said == "1× status 503, 2× reset"
