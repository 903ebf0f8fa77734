"""RS: failed requests are tried again where, when and as often as declared, by the server's own count.

Each attempt carries the client's header with a fresh key, and the server counts keys: what the proxy did needs no
trust in the proxy. The retried backend has one pod, so that one count is all of it.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.catalogue import check
from conformance.checks.resilience_ground import BUDGET, GROUND, RETRIES, STANDING
from conformance.context import LIMITS, Context
from conformance.model import Judgement, failed, inconclusive, passed
from conformance.stalls import few_late
from fixtures.workloads.traffic import Batch, Record
from reports.model import JSON, ErrorRate, Evidence

__all__ = ["Attempts", "Budget", "Trial", "attempts", "judge_attempts", "judge_budget", "tried"]

TIMES = 5


@dataclass(frozen=True)
class Attempts:
    """One request, how often it reached the server, and how often it was to."""

    words: str
    case: str
    request: str
    status: int
    """The status that the client must get."""
    least: int
    most: int
    """Bounds of the attempts that reach the server, the first included."""
    record: Record
    counted: int

    @property
    def wrong(self) -> str:
        """What is wrong; "" if nothing is."""
        if self.counted > self.most:
            return f"{self.counted} attempts reached the server, at most {self.most} may"
        if self.record.error is not None:
            return f"the client got no answer: {self.record.error}"
        if self.record.status != self.status:
            return f"status {self.record.status} after {self.counted} attempts"
        if self.counted < self.least:
            return f"{self.counted} attempts reached the server, {self.least} must"
        return ""

    @property
    def row(self) -> dict[str, JSON]:
        """For the report."""
        return {
            "route": self.words,
            "case": self.case,
            "request": self.request,
            "attempts at the server": self.counted,
            "allowed": f"{self.least} to {self.most}" if self.least != self.most else self.most,
            "status": self.record.status or self.record.error,
            "expected": self.status,
            "ms": round(1000 * self.record.seconds, 1),
        }


def attempts(history: Sequence[Attempts]) -> Evidence:
    """For the report."""
    return Evidence("requests and the attempts that the server counted", [one.row for one in history])


def _late(history: Sequence[Attempts]) -> list[Attempts]:
    """Requests that ran into the client's timeout, and nothing worse, where only few of their case did."""
    sent = Counter((one.words, one.case) for one in history)
    late = [one for one in history if one.record.error == "timeout"]
    of_case = Counter((one.words, one.case) for one in late)
    few = {case for case, count in of_case.items() if few_late(count, sent[case])}
    return [one for one in late if one.counted <= one.most and (one.words, one.case) in few]


def judge_attempts(history: Sequence[Attempts]) -> Judgement:
    """Every request reached the server as often as declared, and ended as it must."""
    evidence = attempts(history)
    if not history:
        return inconclusive("no request was sent", evidence)
    late = _late(history)
    bad = [one for one in history if one.wrong and not any(one is other for other in late)]
    if bad:
        first = bad[0]
        return failed(
            f"{len(bad)} of {len(history)} requests went wrong; first {first.case} by {first.words}: {first.wrong}",
            evidence,
        )
    if late:
        first = late[0]
        return inconclusive(f"{len(late)} of {len(history)} requests ran into a timeout; first {first.case} by "
                            f"{first.words}", evidence)  # fmt: skip
    total = sum(one.counted for one in history)
    return passed(f"{len(history)} requests made {total} attempts at the server, as declared", evidence)


@dataclass(frozen=True)
class Trial:
    """A request to try, and what must come of it."""

    case: str
    path: str
    status: int
    least: int
    most: int
    method: str = "GET"


def tried(ctx: Context, service: str, words: str, trials: Sequence[Trial]) -> list[Attempts]:
    """Send each trial `TIMES` times, each with a key of its own, and ask the server for its counts."""
    every = [(trial, secrets.token_hex(8)) for trial in trials for _ in range(TIMES)]
    batches = [
        Batch(
            url=ctx.url(service, path=trial.path),
            method=trial.method,
            headers={"x-meshproof-key": key},
            timeout=LIMITS.request,
            fields=("version",),
        )
        for trial, key in every
    ]
    records = [record for (record,) in ctx.client().batches(batches)]
    counts = ctx.counts([key for _, key in every], "shop-v1", "shop-v2")
    return [
        Attempts(
            words,
            trial.case,
            f"{trial.method} {trial.path}",
            trial.status,
            trial.least,
            trial.most,
            record,
            counted,
        )
        for (trial, _), record, counted in zip(every, records, counts, strict=True)
    ]


def _both(ctx: Context, name: str, trials: Sequence[Trial]) -> list[Attempts]:
    found: list[Attempts] = []
    for held in STANDING.hold(ctx, f"{name}-version", f"{name}-service"):
        found += tried(ctx, held, held.rpartition("-")[2], trials)
    return found


@check(
    id="RS-01",
    title="A retry recovers from a failure",
    proves=("retries",),
    judge=judge_attempts,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1731/",
)
def recovers(ctx: Context) -> list[Attempts]:
    """The server fails the first attempts of each request, and no later one."""
    return _both(
        ctx,
        "retry",
        (
            Trial("fails once", "/?codes=503&first=1", 200, 2, 2),
            Trial(f"fails {RETRIES} times", f"/?codes=503&first={RETRIES}", 200, RETRIES + 1, RETRIES + 1),
            Trial("does not fail", "/", 200, 1, 1),
        ),
    )


@check(
    id="RS-02",
    title="Attempts end where they must",
    proves=("retries",),
    judge=judge_attempts,
    ground=GROUND,
    requires=("INJ-01", "RS-01"),
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1731/",
)
def bounded(ctx: Context) -> list[Attempts]:
    """The server fails every attempt: one and the configured retries reach it, and the client gets the failure."""
    return _both(ctx, "retry", (Trial("always fails", "/?codes=503", 503, RETRIES + 1, RETRIES + 1),))


@check(
    id="RS-03",
    title="What is not to be retried is not",
    proves=("retries",),
    judge=judge_attempts,
    ground=GROUND,
    requires=("INJ-01", "RS-01"),
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1731/",
)
def not_retried(ctx: Context) -> list[Attempts]:
    """Statuses that the route does not name; and where nobody asks for retries, a POST that the server has seen."""
    trials = (
        Trial("a status not named", "/?codes=500", 500, 1, 1),
        Trial("the client's own error", "/?codes=429", 429, 1, 1),
        Trial("a POST with such a status", "/?codes=500", 500, 1, 1, "POST"),
    )
    plain = (
        Trial("POST without a retry policy", "/?codes=503", 503, 1, 1, "POST"),
        Trial("POST without a retry policy, gateway error", "/?codes=502", 502, 1, 1, "POST"),
    )
    return [*_both(ctx, "retry", trials), *tried(ctx, "plain", "no route", plain)]


@dataclass(frozen=True)
class Budget:
    """Many failing requests at a time under a retry budget."""

    percent: int
    least: int
    retries: int
    in_flight: int
    sent: int
    counted: int
    errors: tuple[str, ...]
    """What came instead of the server's own failure."""

    @property
    def most(self) -> float:
        """Retries that a budget can let through, with a factor of two for what begins and ends out of step.

        Retries in flight are at most a share of all requests in flight: of p percent, p / (100 - p) a request.
        """
        share = max(self.percent / (100 - self.percent), self.least / self.in_flight)
        return 2 * share * self.sent

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(
            "failing requests under a retry budget",
            {
                "budget": f"{self.percent} % of the requests in flight, at least {self.least}",
                "requests": self.sent,
                "in flight": self.in_flight,
                "retries that the route would allow": self.sent * self.retries,
                "retries that the server counted": self.counted - self.sent,
                "retries that the budget can let through": round(self.most),
            },
        )


def judge_budget(history: Budget) -> Judgement:
    """Some requests are tried again, and far fewer than the route alone would allow."""
    evidence, made = history.evidence, history.counted - history.sent
    if not history.sent:
        return inconclusive("no request was sent", evidence)
    if history.most * 2 > history.sent * history.retries:
        return inconclusive("the budget is too large to be told from none", evidence)
    if history.errors:
        return failed(f"{len(history.errors)} requests did not end in the server's own failure but in "
                      f"{history.errors[0]}", evidence)  # fmt: skip
    if made < 0:
        return inconclusive(f"the server counted {-made} requests fewer than were sent", evidence)
    # No chance in it: a budget that is kept lets no more through, whatever the machine does.
    rates = (ErrorRate("retries against a bound", 0.0, None, "no budget, or one of twice the size", history.sent),)
    if made == 0:
        return failed("not one request was tried again: that is no budget", evidence, error_rates=rates)
    if made > history.most:
        return failed(f"{made} retries of {history.sent} requests, the budget lets at most "
                      f"{history.most:.0f} through", evidence, error_rates=rates)  # fmt: skip
    return passed(f"{made} retries of {history.sent} failing requests, where {history.sent * history.retries} would be "
                  "allowed without a budget", evidence, error_rates=rates)  # fmt: skip


@check(
    id="RS-08",
    title="A retry budget keeps retries a share of the traffic",
    proves=("retry budget",),
    judge=judge_budget,
    ground=GROUND,
    requires=("INJ-01", "RS-01"),
    level="extended",
    reference="https://gateway-api.sigs.k8s.io/geps/gep-3388/",
)
def budget(ctx: Context) -> Budget:
    """Every request fails, many at a time."""
    STANDING.hold(ctx, "budget")
    key, in_flight = secrets.token_hex(8), 40
    batch = Batch(
        url=ctx.url("budget", path="/?codes=503&delay=100ms"),
        headers={"x-meshproof-key": key},
        count=5 * in_flight,
        concurrency=in_flight,
        timeout=LIMITS.request,
        fields=("version",),
    )
    records = ctx.client().batch(batch)
    strange = tuple(str(one.error or one.status) for one in records if one.status != 503)
    counted = ctx.counted(key, "shop-v1", "shop-v2")
    return Budget(BUDGET.percent, BUDGET.least, BUDGET.retry.attempts, in_flight, len(records), counted, strange)
