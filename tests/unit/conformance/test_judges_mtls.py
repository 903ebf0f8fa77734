from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.mtls_judges import (
    Handshake,
    Refusal,
    judge_encrypted,
    judge_permissive,
    judge_strict,
    summarise,
)
from fixtures.workloads.traffic import Record
from reports.model import Verdict
from tests.unit.conformance.helpers import meshed, strange

ASKED = Handshake(8080, answered=True, client_certificate_requested=True, version="TLSv1.3")
UNASKED = replace(ASKED, client_certificate_requested=False)
LATE = Handshake(8080, answered=False, client_certificate_requested=False, error="timeout")
EMPTY = Refusal((), ())


@pytest.mark.parametrize("judge", [judge_encrypted, judge_strict, judge_permissive])
@pytest.mark.parametrize(
    "history",
    [EMPTY, Refusal((meshed(8080, sent=0, answered=0),), (ASKED,)), Refusal((meshed(8080, packets=0),), (ASKED,))],
)
def test_no_data_is_never_a_pass(judge, history):
    assert judge(history).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (Refusal((meshed(8080),), (ASKED,)), Verdict.PASS),
        (Refusal((meshed(8080),), ()), Verdict.INCONCLUSIVE),  # one proof is not two
        (Refusal((meshed(8080),), (UNASKED,)), Verdict.FAIL),
        (Refusal((meshed(8080),), (LATE,)), Verdict.INCONCLUSIVE),  # one look of a busy machine
        (Refusal((meshed(8080, hits=1),), (ASKED,)), Verdict.FAIL),
        (Refusal((meshed(8080, hits=20, tls=0),), (UNASKED,)), Verdict.FAIL),  # plain Kubernetes
        (Refusal((meshed(8080, tls=0),), (ASKED,)), Verdict.FAIL),
        (Refusal((meshed(8080, answered=19),), (ASKED,)), Verdict.FAIL),
        (Refusal((strange(8080, answered=20),), (ASKED,)), Verdict.FAIL),  # nobody meshed asked
    ],
)
def test_encrypted(history, verdict):
    assert judge_encrypted(history).verdict is verdict


STRICT = Refusal((strange(8080, answered=0), meshed(8080)), (ASKED,), (8080,))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (STRICT, Verdict.PASS),
        (replace(STRICT, handshakes=(LATE,)), Verdict.INCONCLUSIVE),
        (replace(STRICT, attempts=(strange(8080, answered=20), meshed(8080))), Verdict.FAIL),  # served as permissive
        (replace(STRICT, attempts=(strange(8080, answered=1), meshed(8080))), Verdict.FAIL),
        (replace(STRICT, attempts=(strange(8080, answered=0), meshed(8080, answered=0))), Verdict.FAIL),  # all dead
        (replace(STRICT, attempts=(strange(8080, answered=0), meshed(8080, hits=3))), Verdict.FAIL),
        (replace(STRICT, attempts=(strange(8080, answered=0, packets=0), meshed(8080))), Verdict.INCONCLUSIVE),
        (replace(STRICT, attempts=(strange(8080, answered=0),)), Verdict.FAIL),
        (replace(STRICT, attempts=(meshed(8080),)), Verdict.INCONCLUSIVE),
        (replace(STRICT, strict_ports=()), Verdict.INCONCLUSIVE),
        (replace(STRICT, handshakes=()), Verdict.FAIL),
        (replace(STRICT, handshakes=(UNASKED,)), Verdict.FAIL),
    ],
)
def test_strict(history, verdict):
    assert judge_strict(history).verdict is verdict


def test_a_timeout_is_a_refusal_only_where_nothing_else_happened():
    def ended(**ends: int) -> Refusal:
        return replace(STRICT, attempts=(replace(strange(8080, answered=0), ends=ends), meshed(8080)))

    assert judge_strict(ended(timeout=20)).verdict is Verdict.PASS  # a mesh that drops packets
    assert judge_strict(ended(reset=17, timeout=3)).verdict is Verdict.INCONCLUSIVE  # a busy machine


OVERRIDE = Refusal(
    (strange(8080, answered=0), meshed(8080), strange(9090, answered=20), meshed(9090)), (ASKED,), (8080,), (9090,)
)


def test_port_override():
    assert judge_strict(OVERRIDE).verdict is Verdict.PASS
    closed = replace(OVERRIDE, attempts=(*OVERRIDE.attempts[:2], strange(9090, answered=0), meshed(9090)))
    assert "exempt" in judge_strict(closed).reason
    everywhere = replace(OVERRIDE, attempts=(strange(8080, answered=20), *OVERRIDE.attempts[1:]))
    assert judge_strict(everywhere).verdict is Verdict.FAIL
    late = replace(strange(9090, answered=19), ends={"timeout": 1})
    assert judge_strict(replace(OVERRIDE, attempts=(*OVERRIDE.attempts[:2], late))).verdict is Verdict.INCONCLUSIVE
    unasked = replace(OVERRIDE, attempts=OVERRIDE.attempts[:2])
    assert judge_strict(unasked).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("attempts", "verdict"),
    [
        ((strange(8080, answered=20), meshed(8080)), Verdict.PASS),
        ((strange(8080, answered=20, hits=0), meshed(8080)), Verdict.INCONCLUSIVE),  # the capture is blind
        ((strange(8080, answered=0), meshed(8080)), Verdict.FAIL),
        ((replace(strange(8080, answered=19), ends={"timeout": 1}), meshed(8080)), Verdict.INCONCLUSIVE),
        ((strange(8080, answered=20), meshed(8080, hits=20, tls=0)), Verdict.FAIL),  # plain Kubernetes
        ((meshed(8080),), Verdict.INCONCLUSIVE),
        ((strange(8080, answered=20),), Verdict.FAIL),
    ],
)
def test_permissive(attempts, verdict):
    assert judge_permissive(Refusal(attempts, (ASKED,))).verdict is verdict


def test_a_capture_that_lost_frames_shows_what_it_saw_and_nothing_else():
    lossy, bare = replace(meshed(8080), dropped=3), replace(meshed(8080, tls=0), dropped=3)
    for judge, other in ((judge_strict, strange(8080, answered=0)), (judge_permissive, strange(8080, answered=20))):
        for one in (lossy, bare):
            found = judge(replace(STRICT, attempts=(other, one)))
            assert (found.verdict, "lost 3 frames" in found.reason) == (Verdict.INCONCLUSIVE, True)
        assert judge(replace(STRICT, attempts=(other, replace(lossy, plaintext_hits=1)))).verdict is Verdict.FAIL
        assert judge(replace(STRICT, attempts=(replace(other, dropped=3), meshed(8080)))).verdict is Verdict.PASS
    assert judge_encrypted(Refusal((lossy,), (ASKED,))).verdict is Verdict.INCONCLUSIVE


def test_only_the_applications_own_answers_count():
    seen = {
        "packets": 9,
        "tls_records": 2,
        "plaintext_hits": 1,
        "dropped": 4,
        "records": [
            Record(0, 0.1, status=200, reply={"path": "/mark-1"}),
            Record(0, 0.1, status=200, reply={"path": "/other"}),
            Record(0, 0.1, status=200),  # somebody else's 200
            Record(0, 0.1, status=503),
            Record(0, 0.1, error="reset"),
        ],
    }
    found = summarise(seen, port=8080, meshed=True, token="mark-1")
    assert (found.sent, found.answered, found.carried) == (5, 2, 1)
    assert found.ends == {"status 200": 1, "status 503": 1, "reset": 1}
    assert (found.packets, found.tls_records, found.plaintext_hits, found.dropped) == (9, 2, 1, 4)
