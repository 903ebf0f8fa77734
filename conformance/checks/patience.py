"""RS: time limits. A route's limit ends a request; a limit for each try ends the try, and the next one may succeed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.catalogue import check
from conformance.checks.resilience_ground import GROUND, PER_TRY, RETRIES, STANDING, TIMEOUT
from conformance.checks.retries import Attempts, Trial, attempts, judge_attempts, tried
from conformance.context import LIMITS, Context
from conformance.model import Judgement, failed, inconclusive, passed
from conformance.pulse import excused
from fixtures.workloads.traffic import Batch, Record
from reports.model import JSON, Evidence, Verdict

__all__ = ["SLOW", "Timed", "Tries", "judge_timeout", "judge_tries"]

SLOW = 4.0
"""Seconds that the server takes for a request that must be cut short: far beyond the limit, within the client's own."""
EARLY, LATEST = 0.05, 1.5
"""A limit may come this much early, in seconds: clocks of the loop count in milliseconds, the limit starts earlier. The
fastest of what it ends may take so many times the limit: a machine only makes later, and the pulse tells of that."""
BEATS = 10.0
"""Requests a second that watch the machine."""
QUICK_COUNT, SLOW_COUNT = 30, 4


@dataclass(frozen=True)
class Timed:
    """Quick requests and slow ones under a time limit."""

    words: str
    limit: float
    slow_seconds: float
    quick: tuple[Record, ...]
    slow: tuple[Record, ...]
    stall: float = 0.0
    """The longest that a request of the pulse took, seconds."""

    @property
    def fastest(self) -> float:
        """The least that a slow request took; 0 beyond the server's own time: a stall ended it then, and no limit."""
        least = min(record.seconds for record in self.slow)
        return least if least < self.slow_seconds else 0.0

    @property
    def rows(self) -> list[dict[str, JSON]]:
        """For the report."""
        return [
            {
                "route": self.words,
                "requests": f"{len(records)} that take the server {takes:g} s",
                "limit s": self.limit,
                "statuses": ", ".join(sorted({str(one.status or one.error) for one in records})),
                "fastest ms": round(1000 * min((one.seconds for one in records), default=0.0), 1),
                "slowest ms": round(1000 * max((one.seconds for one in records), default=0.0), 1),
            }
            for takes, records in ((0.0, self.quick), (self.slow_seconds, self.slow))
        ]


def _overdue(reason: str, took: float, limit: float, stall: float, *evidence: Evidence) -> Judgement | None:
    """The failure where a limit ended nothing in time, by the fastest; no verdict where stalls may have added that."""
    excess = took - LATEST * limit
    # A stall before the limit's clock starts, and one when it has run out.
    return excused(failed(reason, *evidence), stall, excess / 2) if excess > 0 else None


def judge_timeout(history: Sequence[Timed]) -> Judgement:
    """Slow requests end in a 504 at the limit, quick ones are served."""
    evidence = Evidence("requests under a time limit", [row for one in history for row in one.rows])
    if not history or not all(one.quick and one.slow for one in history):
        return inconclusive("a part of the requests was not sent", evidence)
    late = stalled = 0
    for one in history:
        for record in one.slow:
            if record.status != 504 or record.version:
                what = record.error or f"status {record.status} after {record.seconds:.2f} s"
                return failed(f"by {one.words}: a request that takes {one.slow_seconds:g} s ended in {what}, its limit "
                              f"is {one.limit:g} s", evidence)  # fmt: skip
            if record.seconds < one.limit - EARLY:
                return failed(f"by {one.words}: cut short after {record.seconds:.2f} s, the limit is {one.limit:g} s",
                              evidence)  # fmt: skip
            late += record.seconds >= one.slow_seconds
        for record in one.quick:
            # On a machine that stalls even a quick request takes longer than the limit, and is rightly cut short.
            if record.status == 504 and record.seconds >= one.limit - EARLY:
                stalled += 1
            elif not record.ok or not record.version:
                return failed(f"by {one.words}: a quick request ended in {record.error or record.status} after "
                              f"{record.seconds:.2f} s", evidence)  # fmt: skip
    last = max(history, key=lambda one: one.fastest)
    reason = f"by {last.words}: cut short after {last.fastest:.2f} s at the earliest, the limit is {last.limit:g} s"
    if overdue := _overdue(reason, last.fastest, last.limit, last.stall, evidence):
        return overdue
    if late or stalled:
        return inconclusive(f"the machine was too slow: {stalled} quick requests and {late} refusals took too long",
                            evidence)  # fmt: skip
    ends = [record.seconds for one in history for record in one.slow]
    return passed(f"cut short by a 504 after {min(ends):.2f} to {max(ends):.2f} s, quick requests served", evidence)


@check(
    id="RS-04",
    title="A time limit ends a request",
    proves=("timeouts",),
    judge=judge_timeout,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1742/",
)
def timeout(ctx: Context) -> list[Timed]:
    """Requests that take the server longer than the limit, and requests that do not."""
    names = STANDING.hold(ctx, "timeout-version", "timeout-service")
    found = []
    client, begin = ctx.client(), ctx.now()
    with ctx.pulse(client, ctx.url("plain"), BEATS) as pulse:
        for held in names:
            quick = Batch(url=ctx.url(held), count=QUICK_COUNT, timeout=LIMITS.request, fields=("version",))
            slow = Batch(
                url=ctx.url(held, path=f"/?delay={round(1000 * SLOW)}ms"),
                count=SLOW_COUNT,
                concurrency=SLOW_COUNT,
                timeout=LIMITS.request,
                fields=("version",),
            )
            with client.start(slow) as job:
                served = client.batch(quick)
                cut = job.wait(LIMITS.request + LIMITS.control)
            found.append(Timed(held.rpartition("-")[2], TIMEOUT, SLOW, tuple(served), tuple(cut)))
        end = ctx.now()
        stall = pulse(end).stall(begin + 2 / BEATS, end)
    return [replace(one, stall=stall) for one in found]


@dataclass(frozen=True)
class Tries:
    """Requests under a limit for each try, beside a pulse of the same client to the same pods without one."""

    limit: float
    attempts: tuple[Attempts, ...]
    stall: float
    """The longest that a request of the pulse took, seconds."""

    def proves(self, one: Attempts) -> bool:
        """Whether a request went wrong as it does on no machine, however slow: the mesh tried too few times.

        A try was waited for, for longer than its limit and all of a stall, so nothing ends tries. Or the mesh gave up
        before so many tries could have had their limit: no stall makes time go faster.
        """
        if one.counted >= one.least:
            return False
        waited = one.record.reply is not None and one.record.seconds > 2 * self.limit + self.stall
        gave_up = one.record.status == 504 and one.record.reply is None
        return waited or (gave_up and one.record.seconds < one.least * self.limit - EARLY)

    @property
    def slowest(self) -> tuple[float, str]:
        """Seconds of a try that hangs, by the fastest request of its case, and the case: of the slowest case."""
        cases: dict[str, list[float]] = {}
        for one in self.attempts:
            # Where the client is to get an answer, the last try has one in time.
            if hanging := one.least - (one.status == 200):
                cases.setdefault(f"{one.case} by {one.words}", []).append(one.record.seconds / hanging)
        return max(((min(each), case) for case, each in cases.items()), default=(0.0, ""))


def judge_tries(history: Tries) -> Judgement:
    """As for attempts, and each try ends at its limit.

    Where the pulse itself was slow, tries were rightly ended that a quick machine would not end.
    """
    judgement = judge_attempts(history.attempts)
    if judgement.verdict is Verdict.FAIL:
        proof = any(map(history.proves, history.attempts))
        return excused(replace(judgement, whatever_the_machine=proof), history.stall, history.limit / 2)
    took, case = history.slowest
    reason = f"{case}: a try took {took:.2f} s at the least, its limit is {history.limit:g} s"
    return _overdue(reason, took, history.limit, history.stall, attempts(history.attempts)) or judgement


@check(
    id="RS-05",
    title="A time limit for each try ends the try",
    proves=("timeouts", "retries"),
    judge=judge_tries,
    ground=GROUND,
    requires=("INJ-01", "RS-01"),
    level="extended",
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1742/",
)
def per_try(ctx: Context) -> Tries:
    """The first try of some requests hangs, the next is quick; of others every try hangs."""
    delay = f"/?delay={round(1000 * 10 * PER_TRY)}ms"
    trials = (
        Trial("first try hangs", f"{delay}&first=1", 200, 2, 2),
        Trial("every try hangs", delay, 504, RETRIES + 1, RETRIES + 1),
        Trial("no try hangs", "/", 200, 1, 1),
    )
    names = STANDING.hold(ctx, "per-try-version", "per-try-service")
    found: list[Attempts] = []
    begin = ctx.now()
    with ctx.pulse(ctx.client(), ctx.url("plain"), BEATS) as pulse:
        for held in names:
            found += tried(ctx, held, held.rpartition("-")[2], trials)
        end = ctx.now()
        return Tries(PER_TRY, tuple(found), pulse(end).stall(begin + 2 / BEATS, end))
