"""A pulse: a slow stream of requests beside a check's traffic, which tells a stall of the machine from a slow mesh.

A client of the check's own ground sends it, at exact times and past whatever the check judges. A beat's time counts
from when it was due, so a client that was itself late shows as well as a proxy or a host that got no processor. Whether
a sample counts is decided by the pulse alone, never by the sample's outcome.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.model import Judgement
from fixtures.workloads.traffic import Record
from reports.model import Verdict

__all__ = ["STEADY", "Pulse", "excused"]


@dataclass(frozen=True)
class Pulse:
    """Beats: `(due, seconds)` each, `rate` of them a second. A refusal is a beat as well: it came when it came."""

    rate: float
    beats: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, rate: float, records: Sequence[Record]) -> Pulse:
        """From the client's records."""
        return cls(rate, tuple((one.start, one.seconds) for one in records))

    def stall(self, begin: float, end: float) -> float:
        """The longest beat under way between two moments, in seconds; infinite where beats are missing."""
        if not self.rate:
            return 0.0
        due = sum(begin <= at <= end for at, _ in self.beats)
        under_way = [seconds for at, seconds in self.beats if at <= end and at + seconds >= begin]
        if due < math.floor((end - begin) * self.rate) - 1 or not under_way:
            return math.inf
        return max(under_way)


STEADY = Pulse(0.0, ())
"""The pulse of a machine that never stalls."""


def excused(judgement: Judgement, stall: float, limit: float) -> Judgement:
    """A failure is no verdict where the machine stood still for longer than `limit` seconds meanwhile.

    One by what a machine cannot bring about, however slow it is, remains one: `Judgement.whatever_the_machine`.
    """
    if judgement.verdict is not Verdict.FAIL or judgement.whatever_the_machine or stall <= limit:
        return judgement
    how = f"stood still for {stall:.1f} s" if math.isfinite(stall) else "was not watched without a gap"
    reason = f"the machine {how} meanwhile, so this proves nothing: {judgement.reason}"
    return Judgement(Verdict.INCONCLUSIVE, reason, judgement.evidence, judgement.error_rates, judgement.plots)
