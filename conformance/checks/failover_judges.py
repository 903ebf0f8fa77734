"""The history of hosts that fail where the client is while others stand by elsewhere, and its judge. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance.checks.ejection import Answer
from conformance.model import Judgement, failed, inconclusive, passed, proven
from conformance.pulse import excused
from reports.model import Evidence

__all__ = ["Failover", "judge_failover"]

STALL = 0.5
"""A beat of the witness that took longer than this, seconds, says that the machine stood still: a takeover may take two
seconds, and proxies need one of them."""
LEAST = 40
"""Requests that each phase needs: chance spares one host of four 40 times with a probability of 1e-5."""
SETTLED = 20
"""Requests at the end that must be answered where the client is."""


@dataclass(frozen=True)
class Failover:
    """Steady traffic while all hosts in the client's zone fail for a moment. Times are epoch seconds."""

    near: tuple[str, ...]
    """The pods in the client's zone."""
    far: tuple[str, ...]
    failing: float
    """When the first request was sent after each of them had been told to fail from its next request on."""
    bound: float
    """Seconds in which the others must have taken over."""
    ejection: float
    """Seconds that an ejection lasts at least."""
    latest: float
    """Seconds from the failure in which the zone's own hosts must have everything again."""
    answers: tuple[Answer, ...]
    """In the order in which they were sent."""
    stall: float = 0.0
    """The longest beat of the witness from the failure on, seconds."""

    @property
    def before(self) -> list[Answer]:
        """What was over before anything failed."""
        return [one for one in self.answers if one.end < self.failing]

    @property
    def meanwhile(self) -> list[Answer]:
        """What was sent once the others must have taken over, and before an ejection can have ended."""
        begin, end = self.failing + self.bound, self.failing + self.ejection
        return [one for one in self.answers if begin < one.start and one.end < end]

    @property
    def returned(self) -> float | None:
        """From when on only the zone's own hosts answered."""
        later = [one for one in self.answers if one.start >= self.failing + self.ejection]
        elsewhere = [index for index, one in enumerate(later) if one.pod not in self.near]
        own = later[elsewhere[-1] + 1 :] if elsewhere else later
        return own[0].start if len(own) >= SETTLED else None

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        after = [] if self.returned is None else [one for one in self.answers if one.start >= self.returned]
        phases = {"before": self.before, "while they are ejected": self.meanwhile, "afterwards": after}
        rows: list[dict[str, Any]] = [
            {
                "phase": phase,
                "own zone": counts["near"],
                "other zone": counts["far"],
                "elsewhere": counts["elsewhere"],
                "failed": counts["failed"],
            }
            for phase, counts in ((name, self._counts(answers)) for name, answers in phases.items())
        ]
        return Evidence(f"requests by zone; {len(self.near)} hosts of the own zone failed", rows)

    def _counts(self, answers: Sequence[Answer]) -> Counter[str]:
        zones = dict.fromkeys(self.far, "far") | dict.fromkeys(self.near, "near")
        return Counter("failed" if wrong(one) else zones.get(one.pod, "elsewhere") for one in answers)


def judge_failover(history: Failover) -> Judgement:
    """Nobody else is asked before, nobody of the zone while they are ejected, and nobody else again afterwards."""
    return excused(_failover(history), history.stall, STALL)


def _failover(history: Failover) -> Judgement:
    before, meanwhile = history.before, history.meanwhile
    if len(before) < LEAST or len(meanwhile) < LEAST or not history.near or not history.far:
        return inconclusive(f"{len(before)} requests before and {len(meanwhile)} after the failure are too few",
                            history.evidence)  # fmt: skip
    hosts = {*history.near, *history.far}
    if strange := [one for one in (*before, *meanwhile) if one.pod and one.pod not in hosts]:
        return failed(f"{len(strange)} requests were answered by pods of neither zone, the first by {strange[0].pod}",
                      history.evidence)  # fmt: skip
    if away := [one for one in before if one.pod in history.far]:
        # Where every host answers, nothing that is slow makes one of another zone the next.
        judgement = failed if any(map(wrong, before)) else proven
        return judgement(f"{len(away)} of {len(before)} requests left the client's zone though its hosts were sound",
                         history.evidence)  # fmt: skip
    if astray := [one for one in meanwhile if one.pod in history.near]:
        return failed(f"{len(astray)} of {len(meanwhile)} requests went to ejected hosts of the client's zone",
                      history.evidence)  # fmt: skip
    if lost := [one for one in (*before, *meanwhile) if wrong(one)]:
        return failed(f"{len(lost)} requests failed that sound hosts could have answered, the first by "
                      f"{lost[0].error or lost[0].status} of {lost[0].pod or 'no pod'}", history.evidence)  # fmt: skip
    back = history.returned
    if back is None or back > history.failing + history.latest:
        return failed(f"{history.latest:g} s after they began to fail the hosts of the client's zone, sound again, do "
                      "not have all requests", history.evidence)  # fmt: skip
    first = next(one.start for one in history.answers if one.start >= history.failing and one.pod in history.far)
    return passed(f"hosts of the other zone took over after {first - history.failing:.2f} s and were asked no more "
                  f"{back - history.failing:.1f} s after the failure", history.evidence)  # fmt: skip


def wrong(answer: Answer) -> bool:
    """Whether a request was not answered as it should, or nobody knows by whom."""
    return answer.error is not None or answer.status != 200 or not answer.pod
