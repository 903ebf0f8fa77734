from __future__ import annotations

import pytest

from conformance import context
from conformance.context import LIMITS, LOOKS, MARK_ROW, Context, Gate, NotInForce, gate_open
from conformance.intents import Backend, Marker
from fixtures.workloads.traffic import Record

V3 = Backend("v3", version="v3")


def test_the_runs_settings_say_how_long_a_mark_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(context, "eventually", lambda _, *, timeout, **__: asked.append(timeout))
    monkeypatch.setattr(LIMITS, "in_force", 77.0)
    ctx = Context.__new__(Context)
    monkeypatch.setattr(Context, "url", lambda *_: "http://a:1/")
    ctx.in_force(lambda: True, "a mark")
    ctx.gate("service", Marker("header", "value", V3))
    ctx.gate("service", Marker("header", "value", V3), Gate(timeout=1.0))
    assert asked == [77.0, 77.0, 1.0]


@pytest.mark.parametrize("shows_at", [1, 3, None])
def test_a_slow_look_is_not_the_only_one(shows_at: int | None) -> None:
    looks: list[int] = []

    def probe() -> bool:
        looks.append(1)
        return len(looks) == shows_at

    ctx = Context.__new__(Context)
    if shows_at is None:
        with pytest.raises(NotInForce, match=r"not within 0\.001 s"):
            ctx.in_force(probe, "a mark", timeout=0.001)
        assert len(looks) >= LOOKS
    else:
        ctx.in_force(probe, "a mark", timeout=0.001)
        assert len(looks) == shows_at


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
