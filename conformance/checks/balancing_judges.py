"""Histories of how requests spread over hosts that stay, come and go, and their judges. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.model import Judgement, failed, inconclusive, passed
from conformance.pulse import excused
from fixtures.workloads.traffic import Record
from reports.model import ErrorRate, Evidence

__all__ = [
    "REPEATS",
    "Arrival",
    "Departure",
    "Moved",
    "Sticky",
    "Turns",
    "judge_arrival",
    "judge_departure",
    "judge_sticky",
    "judge_turns",
]

STALL = 1.0
"""A beat of the witness that took longer than this, seconds, says that the machine stood still: hosts are followed
within seconds, and on an idle machine within a tenth of one."""
REPEATS = 0.03
"""Share of requests that may go to the host of the request before: a turn starts anew where endpoints change."""


@dataclass(frozen=True)
class Turns:
    """Requests one after the other over one connection."""

    hosts: tuple[str, ...]
    """The pods of the service."""
    answers: tuple[str, ...]
    """The pod that answered each, "" if none did."""
    late: int = 0
    """Those of them that nobody answered because they ran into a timeout."""

    @property
    def repeats(self) -> int:
        """Requests that went to the same host as the one before."""
        return sum(one == two != "" for one, two in zip(self.answers, self.answers[1:], strict=False))

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        counts = Counter(self.answers)
        rows: list[dict[str, Any]] = [
            {"host": name or "nobody", "requests": counts[name]} for name in sorted({*self.hosts, *counts})
        ]
        return Evidence(f"requests by host, {self.repeats} to the host of the one before", rows)


def judge_turns(history: Turns) -> Judgement:
    """Hosts take turns: hardly a request follows another to the same host, and all hosts get the same.

    Chance would send every k-th request to the host of the one before; that it stays below `REPEATS` has a probability
    that is given.
    """
    sent, hosts = len(history.answers), len(history.hosts)
    if hosts < 2 or sent < 20 * hosts:
        return inconclusive(f"{sent} requests to {hosts} hosts tell nothing about turns", history.evidence)
    if lost := _lost(history.answers, history.late):
        return failed(f"{lost} of {sent} requests were answered by nobody", history.evidence)
    allowed = math.floor(REPEATS * sent)
    chance = sum(
        math.comb(sent - 1, k) * (1 / hosts) ** k * (1 - 1 / hosts) ** (sent - 1 - k) for k in range(allowed + 1)
    )
    rates = (ErrorRate("requests to the host of the one before", 0.0, chance, "hosts drawn by chance", sent),)
    counts = Counter(history.answers)
    if history.repeats > allowed:
        return failed(f"{history.repeats} of {sent} requests went to the host of the one before: no turns are taken",
                      history.evidence, error_rates=rates)  # fmt: skip
    off = max(abs(counts[name] - sent / hosts) for name in history.hosts)
    if off > 2 + allowed + history.late:  # each may have had its turn
        return failed(f"a host got {off:.0f} requests more or less than its turn", history.evidence, error_rates=rates)
    if history.late:
        return inconclusive(f"{history.late} of {sent} requests ran into a timeout", history.evidence,
                            error_rates=rates)  # fmt: skip
    return passed(f"{sent} requests in turns over {hosts} hosts, {history.repeats} repeats (chance: {chance:.0e})",
                  history.evidence, error_rates=rates)  # fmt: skip


@dataclass(frozen=True)
class Sticky:
    """Requests by the value of the header that decides, each on a new connection."""

    hosts: tuple[str, ...]
    answers: Mapping[str, tuple[str, ...]]
    """Value -> the pods that answered, "" where none did."""
    late: int = 0
    """Requests that nobody answered because they ran into a timeout."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        rows: list[dict[str, Any]] = [
            {"value": value, "hosts": dict(Counter(pods))} for value, pods in self.answers.items()
        ]
        return Evidence("hosts by value of the header", rows)


def judge_sticky(history: Sticky) -> Judgement:
    """Each value has its host, and not all have the same."""
    if len(history.hosts) < 2 or len(history.answers) < 8 or any(len(pods) < 3 for pods in history.answers.values()):
        return inconclusive("too few hosts, values or requests", history.evidence)
    every = [pod for pods in history.answers.values() for pod in pods]
    if lost := _lost(every, history.late):
        return failed(f"{lost} of {len(every)} requests were answered by nobody", history.evidence)
    used_by = {value: {*pods} - {""} for value, pods in history.answers.items()}
    if astray := [value for value, pods in used_by.items() if len(pods) > 1]:
        return failed(f"{len(astray)} of {len(history.answers)} values were sent to several hosts", history.evidence)
    used = {pod for pods in used_by.values() for pod in pods}
    if len(used) < 2:
        return failed("every value goes to the same host: that is no hash", history.evidence)
    if history.late:
        return inconclusive(f"{history.late} of {len(every)} requests ran into a timeout", history.evidence)
    return passed(f"{len(history.answers)} values, each with its host, {len(used)} of {len(history.hosts)} hosts",
                  history.evidence)  # fmt: skip


def _lost(answers: Sequence[str], late: int) -> int:
    """Requests that nobody answered. A busy machine makes some late; where none is answered, it is the mesh."""
    silent = answers.count("")
    return silent if silent == len(answers) else silent - late


@dataclass(frozen=True)
class Arrival:
    """Steady requests over kept connections while a host comes."""

    host: str
    ready: float
    """When its service named it."""
    bound: float
    """Seconds in which it must get its first request."""
    first: float | None
    """When the first request was sent that it answered on a connection on which another host had answered."""
    after: int
    """Requests sent later than the bound."""
    errors: tuple[str, ...]
    stall: float = 0.0
    """The longest beat of the witness meanwhile, seconds."""
    queued: int = 0
    """Requests that ran out of time in the client's own queue."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        first = None if self.first is None else round(self.first - self.ready, 3)
        facts = {"first request s after it was ready": first, "requests past the bound": self.after}
        return Evidence(f"the new host {self.host}", facts | {"errors": list(self.errors)})


def judge_arrival(history: Arrival) -> Judgement:
    """The new host is used within the bound, over a connection that the client had before; no request is lost."""
    return excused(_arrived(history), history.stall, STALL)


def _arrived(history: Arrival) -> Judgement:
    if not history.after:
        return inconclusive("no request was sent past the bound", history.evidence)
    if history.first is None or history.first > history.ready + history.bound:
        return failed(
            f"{history.bound:g} s after its service named it the new host got no request of a kept connection",
            history.evidence,
        )
    if history.errors:
        return failed(f"{len(history.errors)} requests failed meanwhile: {', '.join(sorted(set(history.errors)))}",
                      history.evidence)  # fmt: skip
    if history.queued:
        return _overloaded(history.queued, history.evidence)
    return passed(f"used {max(0.0, history.first - history.ready):.2f} s after its service named it", history.evidence)


@dataclass(frozen=True)
class Moved:
    """A host that left its service and goes on running."""

    host: str
    how: str
    gone: float
    """When its service no longer named it."""
    before: int
    """Requests it answered before it left, on a connection on which another host had answered."""
    late: int
    """Requests it answered that were sent after the bound."""


@dataclass(frozen=True)
class Departure:
    """Steady requests over kept connections while hosts leave."""

    bound: float
    left: tuple[Moved, ...]
    after: int
    """Requests sent after the last bound."""
    errors: tuple[str, ...]
    """What went wrong with those."""
    stall: float = 0.0
    """The longest beat of the witness meanwhile, seconds."""
    queued: int = 0
    """Those that ran out of time in the client's own queue."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        rows: list[dict[str, Any]] = [
            {"host": one.host, "left because": one.how, "moves before": one.before, "after the bound": one.late}
            for one in self.left
        ]
        return Evidence(f"hosts that left ({self.after} requests past the bound of {self.bound:g} s)", rows)


def judge_departure(history: Departure) -> Judgement:
    """Past the bound a host that left gets nothing more, though it runs and would answer."""
    return excused(_departed(history), history.stall, STALL)


def _departed(history: Departure) -> Judgement:
    if history.after < 50 or not history.left:
        return inconclusive(f"only {history.after} requests were sent past the bound", history.evidence)
    idle = [one for one in history.left if not one.before]
    if len(idle) == len(history.left):
        return failed(f"{idle[0].host} got nothing before it left: the requests of a connection are not spread over "
                      "hosts", history.evidence)  # fmt: skip
    if late := [one for one in history.left if one.late]:
        return failed(f"{late[0].host} ({late[0].how}) got {late[0].late} requests more than {history.bound:g} s after "
                      "its service stopped naming it", history.evidence)  # fmt: skip
    if history.errors:
        return failed(f"{len(history.errors)} of {history.after} requests past the bound failed: "
                      f"{', '.join(sorted(set(history.errors)))}", history.evidence)  # fmt: skip
    if idle:
        # Requests do move between hosts; a balancer may prefer others for a while, and then this one shows nothing.
        return inconclusive(f"{idle[0].host} got nothing before it left: that it gets nothing later proves nothing",
                            history.evidence)  # fmt: skip
    if history.queued:
        return _overloaded(history.queued, history.evidence)
    return passed(f"{len(history.left)} hosts that left got none of {history.after} requests", history.evidence)


def _overloaded(queued: int, evidence: Evidence) -> Judgement:
    # A kept connection carries one request at a time: where answers are slow, the next ones wait with the client.
    return inconclusive(f"the client was overloaded: {queued} requests ran out of time in its queue", evidence)


def problem(record: Record) -> str:
    """What went wrong with a request on its way, "" if nothing did."""
    return "" if record.ok or record.queued else record.error or f"status {record.status}"
