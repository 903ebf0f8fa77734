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
    ],
)
def test_what_is_under_way_is_answered(history, verdict):
    assert judge_drain(history).verdict is verdict


CRASH = Crash(("proxy",), 1, 0, 2.5, 40.0, (REFUSED, REFUSED))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (CRASH, PASS),
        (replace(CRASH, added=(), restarts=0), FAIL),  # plain Kubernetes
        (replace(CRASH, back=None), FAIL),
        (replace(CRASH, plaintext=(REFUSED, TAKEN)), FAIL),  # open while the proxy is down
        (replace(CRASH, own_restarts=1), FAIL),
        (replace(CRASH, restarts=0), OPEN),
        (replace(CRASH, restarts=0, missed=1), OPEN),  # answered again, and nothing was restarted
        (replace(CRASH, restarts=0, missed=9, back=None), FAIL),  # what never starts is not told of
    ],
)
def test_a_crash_heals_and_fails_closed(history, verdict):
    assert judge_crash(history).verdict is verdict


IN = Behaviour("ns/server", ("proxy",), "10.0.0.9", ("127.0.0.6",) * 5, tls_answered=True)
OUT = Behaviour("ns/server", (), "10.0.0.9", ("10.0.0.9",) * 5, tls_answered=False)
MOVES = Moves((IN, OUT, IN), LOAD)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (MOVES, PASS),
        (replace(MOVES, stages=(OUT, OUT, OUT)), FAIL),  # plain Kubernetes
        (replace(MOVES, stages=(IN, IN, IN)), FAIL),
        (replace(MOVES, stages=(IN, OUT, OUT)), FAIL),
        (replace(MOVES, stages=(IN, replace(OUT, tls_answered=True), IN)), FAIL),
        (replace(MOVES, load=replace(LOAD, errors=("reset", "reset"))), FAIL),
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
    ],
)
def test_deleted_configuration_is_gone(history, verdict):
    assert judge_deleted(history).verdict is verdict


def test_load_names_errors_and_hosts():
    found = Load.of(
        [
            Record(0.0, 0.1, status=200, reply={"pod": "a"}),
            Record(0.0, 0.1, status=503),
            Record(0.0, 0.1, error="reset"),
            Record(0.0, 0.1, error="reset"),
        ]
    )
    assert (found.sent, found.hosts) == (4, ("a",))
    assert found.said == "1× status 503, 2× reset"
