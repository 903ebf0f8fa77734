"""AZ-08: a right that is taken away is gone soon, also on connections that were opened while it held."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from conformance.catalogue import check
from conformance.checks.authorization_ground import (
    GROUND,
    SERVER,
    Ask,
    account,
    allow,
    drops,
    establish,
    judged,
    rehearsed,
)
from conformance.checks.authorization_judges import CUT, REFUSALS, Attempt, end_of, got_lost, unanswered
from conformance.checks.mtls_judges import HTTP, TCP
from conformance.context import LIMITS, Context
from conformance.intents import AccessRule
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.batch import MAX_SECONDS
from fixtures.workloads.traffic import Batch, Job, Record
from reports.model import Evidence

__all__ = ["Revocation", "Stream", "judge_revocation", "stream_of"]

BOUND = 60.0
"""Seconds. Envoy-based meshes drain connections when their filters change; Istio gives them 45 s."""
RATE = 10.0
"""Requests a second of each caller, of which there are four: enough to time the end of a right by."""
QUIET = 1.0
"""Seconds without a request that got through, after which a right counts as gone."""


@dataclass(frozen=True)
class Stream:
    """One caller that went on asking, before and after its right was taken away."""

    name: str
    before: int
    """Requests that got through before."""
    last: float | None
    """Seconds from the change to the last request that got through; None where none did."""
    refused: int
    """Requests after that one which were refused."""
    late: int = 0
    """Requests after that one which ran into a timeout."""
    drops: bool = False
    """Whether the mesh says that it drops what it denies, without an answer."""

    @property
    def gone(self) -> bool:
        """Whether requests were refused; where denials are drops, they run into timeouts."""
        return self.refused > 0 or (self.drops and self.late > 0)

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "requests": self.name,
            "got through before": self.before,
            "last one through after the change, s": None if self.last is None else round(self.last, 3),
            "refused afterwards": self.refused,
            "timeouts afterwards": self.late,
        }


@dataclass(frozen=True)
class Revocation:
    """Kept connections and new ones, over HTTP and TCP."""

    streams: tuple[Stream, ...]
    others: tuple[Attempt, ...]
    """Requests of the account to which the right passed, once the first had lost it: they show that it did pass."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        streams: list[Any] = [one.row for one in self.streams]
        others: list[Any] = [one.row for one in self.others]
        return (
            Evidence("requests before and after the right was taken away", streams),
            Evidence("requests of the account that has it now", others),
        )


def stream_of(name: str, records: Sequence[Record], changed: float, *, drops: bool = False) -> Stream:
    """The records of one caller. `changed`: epoch seconds at which the API server had the new policy."""
    through = [record for record in records if record.ok and record.reply is not None]
    after = [record for record in through if record.start > changed]
    last = max((record.start for record in after), default=None)
    ends = [end_of(record) for record in records if record.start > max(changed, last or 0.0) and not record.ok]
    return Stream(
        name=name,
        before=sum(record.start <= changed for record in through),
        last=None if last is None else last - changed,
        refused=sum(end in REFUSALS | CUT for end in ends),
        late=ends.count("timeout"),
        drops=drops,
    )


def judge_revocation(history: Revocation) -> Judgement:
    """Every stream got through before, and none does once the bound is over, when the other account's requests do."""
    if not history.others or not all(one.sent for one in history.others):
        return inconclusive("the account that has the right now was not asked", *history.evidence)
    for one in history.streams:
        if not one.before:
            return inconclusive(f"{one.name}: nothing got through while it was allowed", *history.evidence)
    for one in history.streams:
        if (one.last or 0.0) > BOUND:
            return failed(f"{one.name}: requests get through after {BOUND:g} s, as if nothing had changed",
                          *history.evidence)  # fmt: skip
    if reason := got_lost(history.others):
        return failed(f"{reason}: the right was not passed on", *history.evidence)
    for one in history.streams:
        if not one.gone:
            how = f"{one.late} ran into a timeout, none was refused" if one.late else "none was refused"
            return inconclusive(f"{one.name}: of the requests after the change {how}", *history.evidence)
    if reason := unanswered(history.others):
        return inconclusive(reason, *history.evidence)
    worst = max(history.streams, key=lambda one: one.last or 0.0)
    return passed(f"nothing got through later than {worst.last or 0.0:.2f} s ({worst.name})", *history.evidence)


@check(
    id="AZ-08",
    title="A right that is taken away is gone soon, on open connections too",
    proves=("authorization", "revocation"),
    judge=judge_revocation,
    ground=GROUND,
    requires=("AZ-02",),
    reference="https://istio.io/latest/docs/reference/config/security/authorization-policy/",
)
def revoked(ctx: Context) -> Revocation:
    """One account asks all the time, over kept connections and new ones, while the right passes to another."""
    rights = {name: AccessRule(accounts=(account(ctx, name),)) for name in ("client", "friend")}
    mark = [Ask("client", wanted=True), Ask("client", wanted=True, port=TCP), Ask("friend", wanted=False)]
    establish(ctx, allow(ctx, "right", rights["client"]), mark=mark)
    with ExitStack() as stack:
        callers = [
            _Caller(port, fresh, stack.enter_context(_ask_on(ctx, port, fresh=fresh)))
            for port in (HTTP, TCP)
            for fresh in (False, True)
        ]
        ctx.until(lambda: all(len(one.heard()) > RATE for one in callers), "requests get through", LIMITS.in_force)
        ctx.apply(allow(ctx, "right", rights["friend"]))
        changed = ctx.now()
        ctx.watch(lambda: all(_gone(one.heard(), changed) for one in callers), BOUND + 2 * QUIET)
        found = [stream_of(one.name, one.heard(), changed, drops=drops(ctx)) for one in callers]
    passed_on = [Ask("friend", wanted=True), Ask("friend", wanted=True, port=TCP)]
    ctx.watch(partial(rehearsed, ctx, passed_on), LIMITS.in_force)
    return Revocation(tuple(found), judged(ctx, passed_on).attempts)


@dataclass
class _Caller:
    """One that goes on asking, and what its requests came to so far."""

    port: int
    fresh: bool
    job: Job
    _records: list[Record] = field(default_factory=list)

    @property
    def name(self) -> str:
        connection = "a new connection each" if self.fresh else "one connection"
        return f"{'HTTP' if self.port == HTTP else 'TCP'}, {connection}"

    def heard(self) -> Sequence[Record]:
        self._records += self.job.records(len(self._records))
        return self._records


def _gone(records: Sequence[Record], changed: float) -> bool:
    """Whether the newest second of records holds refusals only."""
    newest = [record for record in records if record.start > max(changed, records[-1].start - QUIET)]
    return records[-1].start > changed + QUIET and not any(record.ok for record in newest)


def _ask_on(ctx: Context, port: int, *, fresh: bool) -> Job:
    http = port == HTTP
    return ctx.client().start(
        Batch(
            url=ctx.url(SERVER, port, "/" if http else "", "http" if http else "tcp"),
            protocol="http1" if http else "tcp",
            rate=RATE,
            duration=min(BOUND + 4 * LIMITS.in_force, MAX_SECONDS),
            body="" if http else "line",
            timeout=LIMITS.probe,
            fresh=fresh,
            fields=("pod",),
        )
    )
