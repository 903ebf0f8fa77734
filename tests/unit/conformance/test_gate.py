from __future__ import annotations

import pytest

from conformance.context import MARK_ROW, gate_open
from conformance.intents import Backend
from fixtures.workloads.traffic import Record

V3 = Backend("v3", version="v3")


def answers(*versions: str, status: int = 200) -> list[Record]:
    return [Record(0.0, 0.01, status=status, reply={"version": version}) for version in versions]


@pytest.mark.parametrize(
    ("ordinary", "marked", "opens"),
    [
        (answers("v1", "v3"), answers(*["v3"] * MARK_ROW), True),
        (answers("v1", "v3"), answers(*["v3"] * (MARK_ROW - 1), "v1"), False),
        (answers("v1", "v3"), answers(*["v3"] * (MARK_ROW - 1)), False),
        (answers("v3", "v3"), answers(*["v3"] * MARK_ROW), False),  # no other endpoint is known yet
        (answers("v1", status=503), answers(*["v3"] * MARK_ROW), False),
        ([Record(0.0, 0.1, error="refused")], answers(*["v3"] * MARK_ROW), False),
        ([], answers(*["v3"] * MARK_ROW), False),
        (answers("v1"), [], False),
        (answers("v1"), [Record(0.0, 0.1, error="timeout")] * MARK_ROW, False),
    ],
)
def test_a_mark_is_a_row_that_ordinary_requests_do_not_show(ordinary, marked, opens):
    assert gate_open(ordinary, marked, V3) is opens
