"""How a latency measurement is made: the numbers of its long and its short form. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from load.spec import LoadSpec
from reports.errors import UsageProblem

__all__ = ["MIN_REQUESTS", "SHORT", "TITLE", "Plan", "expect_measurable", "shortest_block"]

TITLE = "latency that the mesh's proxies add"


@dataclass(frozen=True)
class Plan:
    """How a measurement is made."""

    pairs: int = 20
    rate: float = 200.0
    """Requests per second in every arm: at most half of what the slowest arm takes, or it may turn out overloaded."""
    block_seconds: float = 1.0
    users: int = 4
    """Connections, in every arm."""
    warmup_requests: int = 20
    """Requests at the start of each block that are sent and not counted: caches and connections turn warm."""
    lag_budget_us: float = 1000.0
    """A block counts only when the driver's own clock was this late at most, for 90 % of the time."""
    seed: int = 1
    ready_timeout: float = 60.0
    """Seconds for the pods to become ready."""
    strict_timeout: float = 15.0
    """Seconds for strict mutual TLS to be in force."""
    short: bool = False
    """Marks the short form of the main run in the report."""

    @property
    def title(self) -> str:
        """Of the measurement, in a report."""
        return f"{TITLE} (short form)" if self.short else TITLE

    @property
    def most_pairs(self) -> int:
        """Pairs measured at the most: one whose blocks do not count is followed by another, within half as many.

        Whether a block counts depends on the driver's lateness and on the way to it, never on the latency that is
        compared, and on requests that failed: where those are the mesh's, nothing is passed.
        """
        return self.pairs + self.pairs // 2

    def block(self, url: str) -> LoadSpec:
        """The requests of one block; UsageProblem where the driver takes no such job."""
        seconds = self.block_seconds + self.warmup_requests / self.rate
        return LoadSpec(url, self.rate, seconds, users=self.users, timeout=2.0, warmup=self.warmup_requests)


SHORT = Plan(pairs=12, block_seconds=0.4, rate=250.0, warmup_requests=15, short=True)
"""About 30 s with three arms, pods included."""
MIN_REQUESTS = 100
"""Requests of a block below which its p99 is but its slowest request."""


def shortest_block(rate: float) -> float:
    """Seconds that a block must last at least, to the millisecond, to have a p99."""
    return math.ceil(1000 * MIN_REQUESTS / rate) / 1000


def expect_measurable(plan: Plan) -> None:
    """UsageProblem where the driver cannot send what a plan asks for, or a block of it has no p99."""
    plan.block("http://echo/")
    requests = round(plan.rate * plan.block_seconds)
    if requests < MIN_REQUESTS:
        raise UsageProblem(
            f"a block of {requests} requests has no p99: it needs {MIN_REQUESTS}",
            fix=f"--block-seconds {shortest_block(plan.rate):g} or more, or a higher --rate",
        )
