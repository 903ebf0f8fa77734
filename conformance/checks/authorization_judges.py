"""Histories of requests that should get through or not, and the judge of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.model import Judgement, failed, inconclusive, passed, proven
from conformance.stalls import by_nobody
from fixtures.workloads.traffic import Record
from reports.model import Evidence

__all__ = ["Access", "Attempt", "got_lost", "got_through", "judge_access", "let_in", "summarise", "unanswered"]

REFUSALS = {"status 401", "status 403", "grpc 7", "grpc 16"}
"""How a proxy refuses a request."""
CUT = {"status 400", "status 503", "grpc 14", "reset", "eof", "refused", "unreachable"}
"""How a refusal looks where the proxy refuses the whole connection, or a request that it calls malformed whatever its
policies; a broken mesh looks the same, so that this counts only beside requests that got through."""


@dataclass(frozen=True)
class Attempt:
    """The same request a few times, and what came of it at both ends."""

    request: str
    """Caller, protocol, method and target, for people."""
    wanted: bool
    """Whether it should get through."""
    sent: int
    answered: int
    """Answers by the application."""
    arrived: int
    """Requests that reached the application meanwhile, by its own count."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """How the others ended, with counts."""
    drops: bool = False
    """Whether the mesh says that it drops what it denies, without an answer."""

    @property
    def dropped(self) -> bool:
        """Whether they ended as denied ones do where those are dropped: all of them ran into a timeout.

        A dead network looks the same, so that this counts only beside requests that got through.
        """
        return self.drops and not self.wanted and self.sent > 0 and self.late == self.sent

    @property
    def late(self) -> int:
        """Requests that nobody answered in time: neither let in nor refused. A busy machine does the same."""
        return by_nobody(self.ends, self.sent)

    @property
    def through(self) -> bool:
        """Every request was answered by the application, which counts as many."""
        return self.sent > 0 and self.answered == self.sent == self.arrived

    @property
    def strange(self) -> Mapping[str, int]:
        """How those ended that were not answered, not refused and not late."""
        return {end: count for end, count in self.ends.items() if end not in {*REFUSALS, *CUT, "timeout"}}

    @property
    def explicitly(self) -> bool:
        """Whether each refusal says that it is one."""
        return sum(count for end, count in self.ends.items() if end in REFUSALS) == self.sent

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "request": self.request,
            "should": "get through" if self.wanted else "be refused",
            "sent": self.sent,
            "answered": self.answered,
            "arrived": self.arrived,
            "otherwise": ", ".join(f"{count}× {end}" for end, count in self.ends.items()),
        }


@dataclass(frozen=True)
class Access:
    """What a workload let in under one policy."""

    attempts: tuple[Attempt, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        return (Evidence("requests, at the client and at the server", [one.row for one in self.attempts]),)


def end_of(record: Record) -> str:
    """How a request ended, in one word or two."""
    if record.error:
        return record.error
    return f"grpc {record.grpc}" if record.grpc else f"status {record.status}"


def summarise(request: str, wanted: bool, records: Sequence[Record], arrived: int, *, drops: bool = False) -> Attempt:
    """Records of one kind of request, and the server's count of the same time."""
    answered = [record for record in records if record.ok and record.reply is not None]
    ends = Counter(end_of(record) for record in records if not (record.ok and record.reply is not None))
    return Attempt(request, wanted, len(records), len(answered), arrived, dict(ends), drops)


def got_through(attempts: Sequence[Attempt]) -> str:
    """What got through and should not have; "" where nothing did.

    What the server counted beside late requests, or after such as it should have got, may be those: see `unanswered`.
    """
    late = 0
    for one in attempts:
        late += one.late if one.wanted else 0
        if not one.wanted and (one.answered or one.arrived > late):
            return f"{one.request}: {max(one.answered, one.arrived)} of {one.sent} got through, and none should"
    return ""


def let_in(attempts: Sequence[Attempt], *evidence: Evidence) -> Judgement | None:
    """The failure where something got through and should not have; None where nothing did.

    An answer at the client no machine can bring about, nor a request that the server counted where none was late.
    """
    if reason := got_through(attempts):
        sure = any(one.answered for one in attempts if not one.wanted) or not any(one.late for one in attempts)
        return (proven if sure else failed)(reason, *evidence)
    return None


def got_lost(attempts: Sequence[Attempt]) -> str:
    """What should have got through and did not, without being late; "" where everything did."""
    late = 0
    for one in attempts:
        late += 0 if one.dropped else one.late
        if one.wanted and not one.through and (one.answered + one.late < one.sent or not late):
            lost = one.sent - min(one.answered, one.arrived)
            return f"{one.request}: {lost} of {one.sent} did not get through, and all should"
    return ""


def unanswered(attempts: Sequence[Attempt]) -> str:
    """Why nothing is known of some requests; "" where each of them was answered or refused in time."""
    for one in attempts:
        if one.late and not one.dropped:
            what = "found no way or ran" if "unreachable" in one.ends else "ran"
            return f"{one.request}: {one.late} of {one.sent} {what} into a timeout, which says neither yes nor no"
    return ""


def judge_access(history: Access) -> Judgement:
    """What should get through does, and nothing else: neither an answer at the client nor a request at the server."""
    if not history.attempts or not all(one.sent for one in history.attempts):
        return inconclusive("a request was not sent", *history.evidence)
    # What got in against the policy weighs more than what was lost, which the same fault often brings about.
    if unsound := let_in(history.attempts, *history.evidence):
        return unsound
    for one in history.attempts:
        if not one.wanted and one.strange:
            ends = ", ".join(f"{count}× {end}" for end, count in one.ends.items())
            return failed(f"{one.request}: ended without a refusal ({ends})", *history.evidence)
    if reason := got_lost(history.attempts):
        return failed(reason, *history.evidence)
    if reason := unanswered(history.attempts):
        return inconclusive(reason, *history.evidence)
    refused = [one for one in history.attempts if not one.wanted]
    if not refused:
        return inconclusive("nothing was to be refused", *history.evidence)
    if not any(one.wanted for one in history.attempts):
        if any(one.dropped for one in refused):
            return inconclusive("requests were dropped, and none got through beside them", *history.evidence)
        if not any(one.explicitly for one in refused):
            return failed("no request got through and none was refused in so many words", *history.evidence)
    through = sum(one.sent for one in history.attempts if one.wanted)
    return passed(
        f"{sum(one.sent for one in refused)} requests refused, none of them seen by the server; "
        f"{through} requests got through",
        *history.evidence,
    )
