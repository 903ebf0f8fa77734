"""The judge of mirrored requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.routing_copies import Mirrored, judge_mirrored
from reports.model import Verdict

ALL = Mirrored("service", 100, ("v1",) * 60, 60, 60, 1e-5)
PART = Mirrored("service", 30, ("v1",) * 1000, 1000, 300, 1e-5)
NONE = replace(ALL, percent=0, copies=0)


def mirrored(*history: Mirrored) -> Verdict:
    return judge_mirrored(history).verdict


def test_mirrors():
    assert mirrored(ALL, NONE, PART) is Verdict.PASS
    assert mirrored() is Verdict.INCONCLUSIVE
    assert mirrored(replace(ALL, answers=())) is Verdict.INCONCLUSIVE
    assert mirrored(replace(PART, answers=("v1",) * 20, primary=20, copies=6)) is Verdict.INCONCLUSIVE


def test_one_late_request_is_no_verdict():
    late = ("v1",) * 59 + ("timeout",)
    assert mirrored(replace(ALL, answers=late, primary=59, copies=59), NONE) is Verdict.INCONCLUSIVE
    assert mirrored(replace(ALL, answers=("timeout",) * 60)) is Verdict.FAIL
    some = replace(PART, answers=("v1",) * 999 + ("timeout",), primary=999)
    assert mirrored(some) is Verdict.INCONCLUSIVE
    assert mirrored(replace(some, copies=0)) is Verdict.FAIL
    assert mirrored(replace(some, copies=999)) is Verdict.FAIL
    assert mirrored(replace(ALL, answers=(*late, "v2"))) is Verdict.FAIL
    assert mirrored(replace(ALL, answers=late, copies=120)) is Verdict.FAIL
    assert mirrored(replace(ALL, answers=late, copies=0)) is Verdict.FAIL
    assert mirrored(replace(ALL, answers=late, primary=10)) is Verdict.FAIL
    assert mirrored(replace(NONE, answers=late, copies=40)) is Verdict.FAIL
    assert mirrored(replace(ALL, answers=("v1",) * 40 + ("timeout",) * 20, primary=40, copies=40)) is Verdict.FAIL


@pytest.mark.parametrize(
    "wrong",
    [
        replace(ALL, answers=("v1", "v2") * 30),  # the mirror's response returned
        replace(ALL, answers=("v1", "v2", "v3") * 20, primary=20, copies=20),  # plain Kubernetes
        replace(ALL, copies=0),
        replace(ALL, copies=120),  # copied twice
        replace(ALL, primary=120),
        replace(NONE, copies=60),  # the mirror of another rule
        replace(PART, copies=1000),  # the percentage ignored
        replace(PART, copies=0),
    ],
)
def test_mirrors_that_are_wrong(wrong):
    assert mirrored(wrong) is Verdict.FAIL
