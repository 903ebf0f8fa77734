"""ID-09's judge: only who is a pod is told what that pod's proxy is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.discovery import Call, judge_calls
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
