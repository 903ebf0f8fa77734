"""The histories of CB-04, CB-06 and CB-09, and their judges. Pure.

In the first phase of `Threshold` every host fails a little less often in a row than ejects, in the second one more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance.checks.ejection import GRACE, Answer
from conformance.checks.limits import OVERRUN
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.traffic import Record
from reports.model import ErrorRate, Evidence

__all__ = ["Phase", "Shares", "Threshold", "judge_below", "judge_maximum", "judge_per_client"]


SETTLED = 48
"""Requests that each phase needs once it has settled: chance spares one host of four 48 times with 4e-6."""


@dataclass(frozen=True)
class Phase:
    """Requests one after the other."""

    answers: tuple[Answer, ...]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Phase:
        """From the client's records."""
        return cls(tuple(map(Answer.of, records)))

    def errors(self, host: str) -> int:
        """How often a host failed."""
        return sum(one.pod == host and one.status == 500 for one in self.answers)

    @property
    def last(self) -> tuple[Answer, ...]:
        """What was sent when everything that ejects had happened and was in force.

        By the time at which it was really sent: after a stall the client makes up for all that was due at once.
        """
        settled = max((one.end for one in self.answers if one.status == 500), default=0.0) + GRACE
        return tuple(one for one in self.answers if one.start > settled)

    @property
    def serving(self) -> set[str]:
        """The hosts that answer in the end."""
        return {one.pod for one in self.last if one.pod}


@dataclass(frozen=True)
class Threshold:
    """Hosts that fail just below the threshold, and then beyond it."""

    hosts: tuple[str, ...]
    consecutive: int
    most_percent: int
    below: Phase
    beyond: Phase

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        rows: list[dict[str, Any]] = [
            {
                "host": host,
                "errors below": self.below.errors(host),
                "then answers": Counter(one.pod for one in self.below.last)[host],
                "errors beyond": self.beyond.errors(host),
                "and then": Counter(one.pod for one in self.beyond.last)[host],
            }
            for host in sorted(self.hosts)
        ]
        return Evidence(f"errors in a row (threshold {self.consecutive}) and answers after them", rows)

    @property
    def basis(self) -> str:
        """Why nothing can be said, "" where it can."""
        if len(self.hosts) < 4 or not self.below.answers or not self.beyond.answers:
            return "too few hosts or requests"
        if any(self.below.errors(host) not in {0, self.consecutive - 1} for host in self.hosts):
            return "a host failed more or less often than it was told to"
        if sum(self.beyond.errors(host) >= self.consecutive for host in self.hosts) < len(self.hosts) / 2:
            return "too few hosts failed often enough to be ejected"
        if (fewest := min(len(one.last) for one in (self.below, self.beyond))) < SETTLED:
            return f"only {fewest} requests were sent once every ejection was in force, {SETTLED} are needed"
        return ""

    @property
    def sufficed(self) -> str:
        """How many errors in a row ejected, as far as is known: a host may have made one more than it took."""
        seen = {self.beyond.errors(host) for host in set(self.hosts) - self.beyond.serving}
        return str(self.consecutive) if self.consecutive in seen else f"at most {max(seen)}"

    @property
    def rates(self) -> tuple[ErrorRate, ...]:
        """How often chance alone lets a host that serves look ejected; an ejection is never missed."""
        hosts, asked = len(self.hosts), min(len(one.last) for one in (self.below, self.beyond))
        spared = hosts * (1 - 1 / hosts) ** asked
        return (ErrorRate("a host that none of the requests reach is ejected", spared, 0.0, "an ejected host", asked),)


def judge_below(history: Threshold) -> Judgement:
    """One error less than ejects, in a row, ejects nobody; one more does."""
    evidence, rates = history.evidence, history.rates
    if history.basis:
        return inconclusive(history.basis, evidence)
    if history.beyond.serving >= set(history.hosts):
        return failed("beyond the threshold nobody was ejected either: it is not in force", evidence, error_rates=rates)
    if silent := set(history.hosts) - history.below.serving:
        return failed(f"{len(silent)} hosts were ejected by less than {history.consecutive} errors in a row", evidence,
                      error_rates=rates)  # fmt: skip
    return passed(f"{history.consecutive - 1} errors in a row of each host ejected nobody, {history.sufficed} did",
                  evidence, error_rates=rates)  # fmt: skip


def judge_maximum(history: Threshold) -> Judgement:
    """Where every host fails, no more than the declared share is ejected, and the others go on answering."""
    evidence, rates = history.evidence, history.rates
    if history.basis:
        return inconclusive(history.basis, evidence)
    most = math.floor(len(history.hosts) * history.most_percent / 100)
    out = len(set(history.hosts) - history.beyond.serving)
    lost = sum(not one.pod for one in history.beyond.last)
    if not out:
        return failed("every host failed and none was ejected: there is no ejection to limit", evidence,
                      error_rates=rates)  # fmt: skip
    if out > most or lost:
        return failed(f"{out} of {len(history.hosts)} hosts were ejected, {history.most_percent} % are allowed; nobody "
                      f"answered {lost} of {len(history.beyond.last)} requests", evidence,
                      error_rates=rates)  # fmt: skip
    return passed(f"every host failed, {out} of {len(history.hosts)} were ejected ({history.most_percent} % may be)",
                  evidence, error_rates=rates)  # fmt: skip


ENOUGH = 5
"""Requests of the one client in the time of the other's."""


@dataclass(frozen=True)
class Shares:
    """One client far beyond its cap, and another within its own meanwhile."""

    allowed: int
    """Requests that the cap lets through per client."""
    crowd_served: int
    crowd_refused: int
    """By a 503 of the mesh."""
    overlap: int
    """Requests of the other client that were sent while the first had its share in flight."""
    served: int
    """Those of them that the application answered."""
    least: int = 1
    """Requests of the crowd that must be served at the least: as many as it may have connections."""

    @classmethod
    def of(cls, allowed: int, crowd: Sequence[Record], asked: Sequence[Record], *, least: int = 1) -> Shares:
        """From both clients' records.

        Of the crowd only those count that were sent before the first one served had ended: where the client stalls, its
        crowd comes in several waves, and each may have the whole share.
        """
        freed = min((one.start + one.seconds for one in crowd if _served(one)), default=math.inf)
        wave = [one for one in crowd if one.sent < freed]
        full = max((one.sent for one in wave), default=0.0)
        meanwhile = [one for one in asked if full <= one.sent and one.start + one.seconds <= freed]
        return cls(
            allowed=allowed,
            crowd_served=sum(map(_served, wave)),
            crowd_refused=sum(one.status == 503 and one.reply is None for one in wave),
            overlap=len(meanwhile),
            served=sum(map(_served, meanwhile)),
            least=least,
        )

    @property
    def met(self) -> bool:
        """Whether enough of the one's requests fell into the time of the other's."""
        return self.overlap >= ENOUGH and self.crowd_served > 0

    @property
    def nobody(self) -> bool:
        """Whether the mesh refused all that were asked of it, though nothing was under way."""
        refused = self.crowd_refused > self.allowed and not self.crowd_served
        return refused and self.overlap >= ENOUGH and not self.served

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(
            f"two clients, {self.allowed} requests at once each",
            {
                "served of the crowd": self.crowd_served,
                "refused of the crowd": self.crowd_refused,
                "requests of the other meanwhile": self.overlap,
                "served of those": self.served,
            },
        )


def _served(record: Record) -> bool:
    return record.reply is not None and record.status == 200


def judge_per_client(history: Shares) -> Judgement:
    """A cap that is declared per client is: what one client uses up, another does not miss."""
    if history.nobody:
        return failed(f"{history.crowd_refused} requests of the one client and all {history.overlap} of the other were "
                      "refused, and none was served: the cap leaves room for nobody", history.evidence)  # fmt: skip
    if not history.met:
        return inconclusive("the clients did not meet", history.evidence)
    if not history.crowd_refused or history.crowd_served > OVERRUN * history.allowed:
        return failed(f"of the crowd {history.crowd_served} were served, {history.crowd_refused} refused: no cap is in "
                      "force", history.evidence)  # fmt: skip
    if history.crowd_served < history.least:
        return failed(f"of the crowd {history.crowd_served} were served, {history.least} are within its own cap",
                      history.evidence)  # fmt: skip
    if history.served < history.overlap:
        lost = history.overlap - history.served
        return failed(f"{lost} of {history.overlap} requests of the other client were refused: the cap is shared",
                      history.evidence)  # fmt: skip
    return passed(f"{history.crowd_refused} of one client's requests were refused, none of the other's "
                  f"{history.overlap}", history.evidence)  # fmt: skip
