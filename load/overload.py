"""Whether an arm was asked for more than it can take. Pure.

Requests then wait for a connection, each longer than the one before, and latency, which counts from the intended send,
tells how long a block was and not what a proxy adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from load.blocks import AGAIN, BASE, MESHED, Block
from load.histograms import counts, decode
from load.plan import Plan, shortest_block

__all__ = ["overload"]

BUSY = 0.5
"""Share of the time for which connections may be busy, in a block as most are."""
WAITING = 0.25
"""Share of its service time for which the request in the middle may wait for a connection.

An arm is overloaded where both are exceeded. Few busy connections and a lag are a driver's slow timers; busy ones and
no lag are slow answers or stalls, which are the arm's own: no block's length is in its figures.
"""

_WORDS = {BASE: "without the mesh", AGAIN: "without the mesh", MESHED: "with the mesh"}


def overload(good: Sequence[Block], plan: Plan) -> str:
    """Which arm was overloaded, the slowest, by the blocks that count, and what to do about it; "" where none was."""
    found: list[tuple[float, str]] = []
    for arm in _WORDS:
        mine = [b for b in good if b.arm == arm]
        if not mine:
            continue
        # The median of the blocks' means: a long stall is one block's, an overload is every block's.
        took = median(_mean(b.service) for b in mine)
        waited, served = (_median([getattr(b, name) for b in mine]) for name in ("lag", "service"))
        if took * plan.rate > BUSY * plan.users * 1e6 and waited > WAITING * served:
            found.append((took, arm))
    return _sentence(*max(found), plan) if found else ""


def _sentence(took: float, arm: str, plan: Plan) -> str:
    most = plan.users * 1e6 / took
    rate = max(1, math.floor(most / 2))
    better, least = f"--rate {rate}", shortest_block(rate)
    if least > (Plan.block_seconds if plan.short else plan.block_seconds):
        better += f" --block-seconds {least:g}"
    return (
        f"at {plan.rate:g}/s the arm {_WORDS[arm]} is overloaded: {plan.users} connections, each busy with a request "
        f"for {took / 1000:.3g} ms, take {most:.0f}/s at most, and requests wait for one; "
        f"give `meshproof load latency` a lower rate: {better}"
    )


def _median(encoded: Sequence[str]) -> float:
    return float(decode(*encoded).get_value_at_percentile(50))


def _mean(encoded: str) -> float:
    """In µs; the library's own takes tens of milliseconds."""
    values = counts(decode(encoded))
    return sum(value * count for value, count in values.items()) / sum(values.values())
