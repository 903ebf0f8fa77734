"""The judge of authorization: what should get through does, and nothing else, at either end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.authorization_invalid import Unreadable, judge_unreadable
from conformance.checks.authorization_judges import Access, Attempt, judge_access, summarise
from conformance.checks.authorization_revocation import Revocation, Stream, judge_revocation, stream_of
from fixtures.workloads.traffic import Record
from reports.model import Verdict

THROUGH = Attempt("client, GET /", wanted=True, sent=10, answered=10, arrived=10)
LATE = replace(THROUGH, answered=7, arrived=7, ends={"timeout": 3})
REFUSED = Attempt("other, GET /", wanted=False, sent=10, answered=0, arrived=0, ends={"status 403": 10})
DROPPED = replace(REFUSED, ends={"timeout": 10}, drops=True)


@pytest.mark.parametrize(
    ("attempts", "verdict", "reason"),
    [
        ((THROUGH, REFUSED), Verdict.PASS, "10 requests refused, none of them seen by the server"),
        ((REFUSED,), Verdict.PASS, "0 requests got through"),
        ((THROUGH,), Verdict.INCONCLUSIVE, "nothing was to be refused"),
        ((), Verdict.INCONCLUSIVE, "not sent"),
        ((replace(THROUGH, sent=0), REFUSED), Verdict.INCONCLUSIVE, "not sent"),
        # denied, and yet answered; or refused to the client, but not before the server had it
        ((THROUGH, replace(REFUSED, answered=1, arrived=1)), Verdict.FAIL, "1 of 10 got through"),
        ((THROUGH, replace(REFUSED, arrived=2)), Verdict.FAIL, "2 of 10 got through"),
        # allowed, and lost on either side
        ((replace(THROUGH, answered=9, ends={"status 403": 1}), REFUSED), Verdict.FAIL, "1 of 10 did not get through"),
        ((replace(THROUGH, arrived=0), REFUSED), Verdict.FAIL, "10 of 10 did not get through"),
        # what ended otherwise was not refused
        ((THROUGH, replace(REFUSED, ends={"status 502": 9, "timeout": 1})), Verdict.FAIL, "ended without a refusal"),
        # what ran into a timeout was neither let in nor refused
        ((THROUGH, replace(REFUSED, ends={"timeout": 10})), Verdict.INCONCLUSIVE, "10 of 10 ran into a timeout"),
        ((THROUGH, replace(REFUSED, ends={"timeout": 1, "status 403": 9})), Verdict.INCONCLUSIVE, "1 of 10 ran into"),
        ((LATE, REFUSED), Verdict.INCONCLUSIVE, "3 of 10 ran into a timeout"),
        ((replace(LATE, ends={"timeout": 2, "status 403": 1}), REFUSED), Verdict.FAIL, "3 of 10 did not get through"),
        # nor what found no way to the address, if that is one: many are a refusal, or lost
        (
            (replace(LATE, answered=9, arrived=9, ends={"unreachable": 1}), REFUSED),
            Verdict.INCONCLUSIVE,
            "found no way",
        ),
        ((replace(LATE, answered=8, arrived=8, ends={"unreachable": 2}), REFUSED), Verdict.FAIL, "2 of 10 did not get"),
        ((THROUGH, replace(REFUSED, ends={"unreachable": 10})), Verdict.PASS, "10 requests refused"),
        # and may still arrive while others are counted, but no more of them
        ((LATE, replace(REFUSED, arrived=3)), Verdict.INCONCLUSIVE, "3 of 10 ran into a timeout"),
        ((LATE, replace(REFUSED, arrived=4)), Verdict.FAIL, "4 of 10 got through"),
        ((LATE, replace(THROUGH, arrived=13), REFUSED), Verdict.INCONCLUSIVE, "3 of 10 ran into a timeout"),
        ((THROUGH, replace(REFUSED, arrived=1, ends={"timeout": 1, "status 403": 9})), Verdict.FAIL, "1 of 10 got"),
        ((THROUGH, replace(REFUSED, ends={"status 404": 10})), Verdict.FAIL, "ended without a refusal"),
        # unless the mesh says that it drops what it denies; that counts only beside others that got through
        ((THROUGH, DROPPED), Verdict.PASS, "10 requests refused, none of them seen by the server; 10 requests got"),
        ((DROPPED,), Verdict.INCONCLUSIVE, "none got through beside them"),
        ((DROPPED, REFUSED), Verdict.INCONCLUSIVE, "none got through beside them"),
        ((THROUGH, replace(DROPPED, ends={"timeout": 9, "status 403": 1})), Verdict.INCONCLUSIVE, "9 of 10 ran into"),
        ((THROUGH, replace(DROPPED, answered=1, arrived=1, ends={"timeout": 9})), Verdict.FAIL, "1 of 10 got through"),
        ((THROUGH, replace(DROPPED, arrived=1)), Verdict.FAIL, "1 of 10 got through"),
        ((DROPPED, replace(THROUGH, arrived=9)), Verdict.FAIL, "1 of 10 did not get through"),
        (
            (replace(THROUGH, answered=0, arrived=0, ends={"timeout": 10}, drops=True), DROPPED),
            Verdict.INCONCLUSIVE,
            "client, GET /: 10 of 10 ran into a timeout",
        ),
        # a cut connection is a refusal only beside others that got through
        ((THROUGH, replace(REFUSED, ends={"reset": 10})), Verdict.PASS, "10 requests refused"),
        ((replace(REFUSED, ends={"status 503": 10}),), Verdict.FAIL, "none was refused in so many words"),
    ],
)
def test_the_judge(attempts: tuple[Attempt, ...], verdict: Verdict, reason: str) -> None:
    found = judge_access(Access(attempts))
    assert found.verdict is verdict
    assert reason in found.reason


def test_a_summary_counts_answers_of_the_application_only() -> None:
    records = [
        Record(0.0, 0.1, status=200, reply={"pod": "x"}),
        Record(0.0, 0.1, status=200),
        Record(0.0, 0.1, status=403),
        Record(0.0, 0.1, error="reset"),
        Record(0.0, 0.1, status=200, grpc=7),
    ]
    found = summarise("x", wanted=True, records=records, arrived=1)
    assert (found.sent, found.answered, found.arrived) == (5, 1, 1)
    assert found.ends == {"status 200": 1, "status 403": 1, "reset": 1, "grpc 7": 1}


# ----------------------------------------------------------------------------------------------------------- revocation
STREAM = Stream("HTTP, one connection", before=20, last=0.1, refused=20)
PASSED_ON = replace(THROUGH, request="friend, GET /")


@pytest.mark.parametrize(
    ("streams", "verdict", "reason"),
    [
        ((STREAM, replace(STREAM, name="TCP", last=5.0)), Verdict.PASS, "nothing got through later than 5.00 s (TCP)"),
        ((replace(STREAM, last=None),), Verdict.PASS, "0.00 s"),
        ((replace(STREAM, before=0),), Verdict.INCONCLUSIVE, "while it was allowed"),
        ((STREAM, replace(STREAM, refused=0, last=61.0)), Verdict.FAIL, "as if nothing had changed"),
        # an outage is no refusal
        ((replace(STREAM, last=None, refused=0, late=20),), Verdict.INCONCLUSIVE, "20 ran into a timeout, none was"),
        ((replace(STREAM, refused=0),), Verdict.INCONCLUSIVE, "none was refused"),
        # unless the mesh says that it drops what it denies
        ((replace(STREAM, refused=0, late=20, drops=True),), Verdict.PASS, "0.10 s"),
        ((replace(STREAM, refused=0, drops=True),), Verdict.INCONCLUSIVE, "none was refused"),
        ((replace(STREAM, last=61.0, refused=0, late=20, drops=True),), Verdict.FAIL, "as if nothing had changed"),
        ((replace(STREAM, last=60.5),), Verdict.FAIL, "as if nothing had changed"),
    ],
)
def test_the_judge_of_revocation(streams: tuple[Stream, ...], verdict: Verdict, reason: str) -> None:
    found = judge_revocation(Revocation(streams, (PASSED_ON,)))
    assert found.verdict is verdict
    assert reason in found.reason


@pytest.mark.parametrize(
    ("others", "verdict", "reason"),
    [
        ((), Verdict.INCONCLUSIVE, "not asked"),
        ((replace(PASSED_ON, answered=0, arrived=0, ends={"status 403": 10}),), Verdict.FAIL, "not passed on"),
        ((replace(PASSED_ON, answered=9, arrived=9, ends={"timeout": 1}),), Verdict.INCONCLUSIVE, "1 of 10 ran into"),
    ],
)
def test_a_right_that_is_lost_must_have_passed_to_another(
    others: tuple[Attempt, ...], verdict: Verdict, reason: str
) -> None:
    found = judge_revocation(Revocation((STREAM,), others))
    assert found.verdict is verdict
    assert reason in found.reason


def test_a_stream_knows_before_from_after() -> None:
    reply = {"pod": "x"}
    records = [
        Record(9.0, 0.1, status=200, reply=reply),
        Record(10.5, 0.1, status=200, reply=reply),
        Record(11.0, 0.1, status=403),
        Record(12.0, 0.1, error="eof"),
        Record(13.0, 3.0, error="timeout"),
        Record(13.0, 0.1, status=404),
    ]
    assert stream_of("x", records, changed=10.0) == Stream("x", before=1, last=0.5, refused=2, late=1)


# --------------------------------------------------------------------------------------------------------- invalid ones
@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (Unreadable("spec.rules[0].when[0].key: must be one of", Access(())), Verdict.PASS),
        (Unreadable("internal error", Access(())), Verdict.FAIL),
        (Unreadable("", Access((REFUSED,))), Verdict.PASS),
        (Unreadable("", Access((replace(REFUSED, answered=10, arrived=10, ends={}),))), Verdict.FAIL),
    ],
)
def test_the_judge_of_unreadable_policies(history: Unreadable, verdict: Verdict) -> None:
    assert judge_unreadable(history).verdict is verdict
