from __future__ import annotations

import pytest

from conformance.checks.cases import Asked
from conformance.checks.oddity import ALONE, CASES, VALUES, Odd, judge_odd
from fixtures.workloads.traffic import Record
from reports.model import Verdict

RIGHT = {name: [value] for name, value in VALUES}
WRONG = {**RIGHT, "x-word": ["HTTP/1.1"]}


def asked(headers: dict[str, list[str]]) -> tuple[Asked, ...]:
    reply = {"version": "v1", "headers": headers}
    record = Record(0.0, 0.1, status=200, reply=reply, headers={k: tuple(v) for k, v in headers.items()})
    return tuple(Asked("service", case, (record,) * 3) for case in CASES)


BOTH = (("beside-service", True), ("odd-service", True))


@pytest.mark.parametrize(
    ("history", "verdict", "says"),
    [
        (Odd(BOTH, asked(RIGHT)), Verdict.PASS, "as expected"),
        (Odd(BOTH, asked(WRONG)), Verdict.FAIL, "x-word: HTTP/1.1"),
        (Odd((("beside-service", False),), ()), Verdict.FAIL, "beside one with a percent sign"),
        (Odd((("beside-service", False), (f"beside-service{ALONE}", True)), ()), Verdict.FAIL, "into force"),
        (Odd((("beside-service", False), (f"beside-service{ALONE}", False)), ()), Verdict.FAIL, "no change of another"),
        (Odd((BOTH[0], ("odd-service", False)), ()), Verdict.FAIL, "odd-service does not come into force"),
        (Odd((), ()), Verdict.INCONCLUSIVE, "no route"),
        (Odd(BOTH, ()), Verdict.INCONCLUSIVE, "not asked"),
    ],
)
def test_values_arrive_as_written_and_the_route_beside_stands(history, verdict, says):
    judged = judge_odd(history)
    assert judged.verdict is verdict
    assert says in judged.reason
