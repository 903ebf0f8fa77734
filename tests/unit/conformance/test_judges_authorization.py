"""The judge of authorization: what should get through does, and nothing else, at either end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.authorization_judges import Access, Attempt, judge_access, summarise
from fixtures.workloads.traffic import Record
from reports.model import Verdict

THROUGH = Attempt("client, GET /", wanted=True, sent=10, answered=10, arrived=10)
REFUSED = Attempt("other, GET /", wanted=False, sent=10, answered=0, arrived=0, ends={"status 403": 10})


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
        ((THROUGH, replace(REFUSED, ends={"timeout": 10})), Verdict.FAIL, "ended without a refusal (10× timeout)"),
        ((THROUGH, replace(REFUSED, ends={"status 404": 10})), Verdict.FAIL, "ended without a refusal"),
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
