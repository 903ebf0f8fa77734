"""The judges of discovery: only who is a pod is told what its proxy is told, and what that rejects is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.discovery import Call, judge_calls
from conformance.checks.rejections import TIMES, Rejections, judge_rejections
from reports.model import Verdict

OWN = Call("server of a", "a/server", own=True, told=9)
OTHER = Call("server of a", "b/optin", own=False, told=0, end="PERMISSION_DENIED: not this pod's")
NOBODY = Call(
    "somebody without a certificate", "a/server", own=False, told=0, end="UNAVAILABLE: handshake", certified=False
)


@pytest.mark.parametrize(
    ("calls", "verdict"),
    [
        ((OWN, OTHER, NOBODY), Verdict.PASS),
        ((), Verdict.FAIL),  # plain Kubernetes
        ((OWN, replace(OTHER, told=3, end=""), NOBODY), Verdict.FAIL),
        ((OWN, OTHER, replace(NOBODY, told=1)), Verdict.FAIL),
        ((replace(OWN, told=0, end="UNAVAILABLE: x"), OTHER, NOBODY), Verdict.INCONCLUSIVE),
        ((OWN, replace(OTHER, end=""), NOBODY), Verdict.INCONCLUSIVE),
        ((OWN, replace(OTHER, end="UNAVAILABLE: connection lost"), NOBODY), Verdict.INCONCLUSIVE),
        ((OWN, replace(OTHER, end="NOT_FOUND: no such pod"), NOBODY), Verdict.INCONCLUSIVE),
        ((OWN, replace(OTHER, end="DEADLINE_EXCEEDED: late"), NOBODY), Verdict.INCONCLUSIVE),
    ],
)
def test_who_is_told(calls: tuple[Call, ...], verdict: Verdict) -> None:
    assert judge_calls(calls).verdict is verdict


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (Rejections(TIMES, 0.0, 3.0), Verdict.PASS),
        (Rejections(TIMES, 2.0, 9.0), Verdict.PASS),  # another proxy rejected something, too
        (None, Verdict.FAIL),  # plain Kubernetes
        (Rejections(TIMES, 5.0, 5.0), Verdict.FAIL),
        (Rejections(TIMES, 5.0, 7.0), Verdict.FAIL),
        (Rejections(TIMES, None, 3.0), Verdict.INCONCLUSIVE),
        (Rejections(TIMES, 0.0, None), Verdict.INCONCLUSIVE),
        (Rejections(TIMES - 1, 0.0, 0.0), Verdict.INCONCLUSIVE),
    ],
)
def test_what_is_rejected_is_counted(history: Rejections | None, verdict: Verdict) -> None:
    assert judge_rejections(history).verdict is verdict
