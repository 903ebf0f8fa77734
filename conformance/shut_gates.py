"""What is asked although the mark of a configuration did not show in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from conformance.context import NotInForce
from conformance.model import Judgement
from reports.model import Verdict

__all__ = ["asked_anyway"]

T = TypeVar("T")


def asked_anyway(gate: Callable[[], object], collect: Callable[[], T], judge: Callable[[T], Judgement]) -> T:
    """Wait at a gate and collect a history; behind a gate that stays shut too, where the judge finds fault with it.

    A judge that sees what the mesh does says more than a gate that did not open. What looks right only then came too
    late: `NotInForce`, as the gate raised it.
    """
    late: NotInForce | None = None
    try:
        gate()
    except NotInForce as error:
        late = error
    found = collect()
    if late is not None and judge(found).verdict is not Verdict.FAIL:
        raise late
    return found
