"""The history of bursts against a cap on connections and requests, and the judge of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.traffic import Record
from reports.model import Evidence

__all__ = ["ENOUGH", "STALL", "Burst", "Cap", "judge_cap"]

OVERRUN = 2
"""A cap that is exceeded by more than this factor is not kept. Proxies may overrun it a little: each of their worker
threads counts before the others know."""

STALL = 0.4
"""A burst does not count where a request past the cap, by the same client and proxy, took longer than this, seconds."""
ENOUGH = 1
"""Bursts that must count; one has twenty requests beyond the cap."""


@dataclass(frozen=True)
class Burst:
    """Requests sent at once or one by one: `(seconds, status, error, answered by the application)` each."""

    outcomes: tuple[tuple[float, int | None, str | None, bool], ...]
    stall: float = 0.0
    """The longest that a request past the cap took meanwhile, seconds."""

    @classmethod
    def of(cls, records: Sequence[Record], stall: float = 0.0) -> Burst:
        """From the client's records."""
        return cls(tuple((one.seconds, one.status, one.error, one.reply is not None) for one in records), stall)

    @property
    def counts(self) -> bool:
        """Whether the machine was quick enough for a statement about time."""
        return self.stall <= STALL

    @property
    def served(self) -> int:
        """Requests that the application answered."""
        return sum(by_app and status == 200 for _, status, _, by_app in self.outcomes)

    @property
    def refusals(self) -> list[float]:
        """Seconds that each 503 from the mesh took."""
        return [seconds for seconds, status, _, by_app in self.outcomes if status == 503 and not by_app]

    @property
    def others(self) -> list[str]:
        """Every other outcome."""
        return [
            error or f"status {status}"
            for _, status, error, by_app in self.outcomes
            if not (by_app and status == 200) and not (status == 503 and not by_app)
        ]


@dataclass(frozen=True)
class Cap:
    """Single requests, bursts beyond the cap, single requests again."""

    allowed: int
    """Requests of a burst that the cap lets through: in flight and pending."""
    delay: float
    """Seconds that the application takes for a request of a burst."""
    before: Burst
    bursts: tuple[Burst, ...]
    after: Burst
    least: int = 1
    """Requests of a burst that must be served at the least: as many as it may have connections or requests."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        named = [
            ("one by one", self.before),
            *((f"burst {i}", burst) for i, burst in enumerate(self.bursts, 1)),
            ("one by one, after", self.after),
        ]
        return Evidence(
            f"outcomes (the cap lets {self.allowed} of a burst through)",
            [
                {
                    "requests": name,
                    "sent": len(burst.outcomes),
                    "served": burst.served,
                    "503": len(burst.refusals),
                    "slowest 503 ms": round(1000 * max(burst.refusals), 1) if burst.refusals else None,
                    "otherwise": ", ".join(sorted(set(burst.others))),
                    "slowest past the cap ms": round(1000 * burst.stall, 1) if math.isfinite(burst.stall) else None,
                    "counts": burst.counts,
                }
                for name, burst in named
            ],
        )


def judge_cap(history: Cap) -> Judgement:
    """Within the cap everything is served; beyond it requests are refused by a 503 long before the application answers.

    A cap counts as kept up to `OVERRUN` times its size. Bursts during which the machine stalled do not count.
    """
    evidence = history.evidence
    if not history.bursts or not all(len(burst.outcomes) for burst in (history.before, *history.bursts, history.after)):
        return inconclusive("a part of the traffic was not sent", evidence)
    most = OVERRUN * history.allowed
    counted = [burst for burst in history.bursts if burst.counts]
    sent = sum(len(burst.outcomes) for burst in counted)
    smallest = min(len(burst.outcomes) for burst in history.bursts)
    if smallest <= most:
        return inconclusive(f"a burst of {smallest} cannot tell a cap of {history.allowed}", evidence)
    for burst in (history.before, history.after):
        if burst.served < len(burst.outcomes):
            unserved = len(burst.outcomes) - burst.served
            return failed(f"{unserved} of {len(burst.outcomes)} single requests within the cap were refused",
                          evidence)  # fmt: skip
    if len(counted) < ENOUGH:
        return inconclusive(f"{len(counted)} of {len(history.bursts)} bursts count, {ENOUGH} is needed: during the "
                            "others requests past the cap were slow as well", evidence)  # fmt: skip
    for burst in counted:
        if burst.others:
            return failed(f"beyond the cap requests ended in {', '.join(sorted(set(burst.others)))}, not in a 503",
                          evidence)  # fmt: skip
        if burst.served > most:
            return failed(f"{burst.served} of {len(burst.outcomes)} requests were served, the cap lets "
                          f"{history.allowed} through", evidence)  # fmt: skip
        if not burst.served:
            return failed("of a burst not one request was served: that is an outage, not a cap",
                          evidence)  # fmt: skip
        if burst.served < history.least:
            return failed(f"{burst.served} of {len(burst.outcomes)} requests were served, {history.least} are within "
                          "the cap", evidence)  # fmt: skip
        # As late as the machine made requests past the cap, a refusal may be; one that waited is later than that.
        if max(burst.refusals) > history.delay / 2 + burst.stall:
            return failed(f"a refusal took {1000 * max(burst.refusals):.0f} ms, requests past the cap at most "
                          f"{1000 * burst.stall:.0f} ms: it waited instead of being refused", evidence)  # fmt: skip
    refused = sum(len(burst.refusals) for burst in counted)
    slowest = max(max(burst.refusals) for burst in counted)
    return passed(
        f"{refused} of {sent} refused by 503, the slowest in {1000 * slowest:.0f} ms; single requests served",
        evidence,
    )
