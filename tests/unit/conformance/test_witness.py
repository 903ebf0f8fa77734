from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from conformance.model import failed, inconclusive, passed
from conformance.witness import Witness, excused
from fixtures.workloads.traffic import Control, OrderRefused
from reports.errors import EnvironmentProblem
from reports.model import Verdict


class Port:
    """A control port that answers after a while, and says when it has been asked often enough."""

    def __init__(self, outcome: Exception | None = None, delay: float = 0.0) -> None:
        self.outcome, self.delay = outcome, delay
        self.asked = threading.Event()

    def order(self, *_: str) -> dict[str, Any]:
        threading.Event().wait(self.delay)
        self.asked.set()
        if self.outcome is not None:
            raise self.outcome
        return {}


def watch(port: Port) -> Witness:
    with Witness([(cast("Control", port), "/behaviour")]) as witness:
        assert port.asked.wait(5)
    return witness


def test_the_slowest_answer_is_kept():
    assert watch(Port(delay=0.2)).slowest >= 0.2
    assert watch(Port()).slowest < 0.2


def test_a_refusal_is_an_answer_and_a_lost_pod_ends_the_watch():
    assert watch(Port(OrderRefused("no such job", 404))).asked >= 1
    assert watch(Port(EnvironmentProblem("gone"))).asked == 0


@pytest.mark.parametrize(
    ("judgement", "stall", "verdict"),
    [
        (failed("bad"), 0.1, Verdict.FAIL),
        (failed("bad"), 3.0, Verdict.INCONCLUSIVE),
        (passed("fine"), 3.0, Verdict.PASS),
        (inconclusive("thin"), 3.0, Verdict.INCONCLUSIVE),
    ],
)
def test_only_failures_are_excused(judgement, stall, verdict):
    found = excused(judgement, stall, 0.5)
    assert found.verdict is verdict
    assert judgement.reason in found.reason
