"""RS: faults made by the mesh, and a rate limit: as many requests as declared, and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from conformance.catalogue import check
from conformance.checks.resilience_ground import ABORT_PERCENT, ABORT_STATUS, DELAY, GROUND, STANDING
from conformance.context import LIMITS, Context
from conformance.intents import RateLimit
from conformance.model import Judgement, failed, inconclusive, passed, share_rates
from conformance.stalls import few_late
from conformance.statistics import Decision, Sprt, next_samples, share_tests, shares_decision, surely_rejected
from fixtures.workloads.traffic import Batch, Record
from reports.model import ErrorRate, Evidence

__all__ = ["Aborted", "Delayed", "Limited", "judge_aborted", "judge_delayed", "judge_limited"]

DELTA, BETA, MOST = 0.05, 1e-3, 20_000
WORKERS = 8
SERVED, LATE = "served", "timeout"


def _outcome(record: Record) -> str:
    """What became of a request: served by the backend, a status of the mesh's own, or an error."""
    if record.ok and record.version:
        return SERVED
    return record.error or f"status {record.status}{' of the backend' if record.version else ''}"


def _late(counts: Mapping[str, int]) -> int:
    """Requests that ran into the client's timeout, where those are few."""
    return few_late(counts.get(LATE, 0), sum(counts.values()))


def _strange(counts: Mapping[str, int], wanted: set[str]) -> list[str]:
    """Outcomes that no request may have; a timeout is one where there are more than few."""
    return sorted(set(counts) - wanted - ({LATE} if _late(counts) else set()))


@dataclass(frozen=True)
class Aborted:
    """Requests of which a share must be aborted, and requests of the same route's other rule."""

    status: int
    percent: int
    counts: Mapping[str, int]
    others: Mapping[str, int]
    alpha: float
    delta: float = DELTA
    beta: float = BETA

    @property
    def shares(self) -> dict[str, int]:
        """What must become of them, in percent."""
        return {f"status {self.status}": self.percent, SERVED: 100 - self.percent}

    def decide(self) -> tuple[Decision, str, tuple[Sprt, ...]]:
        """Where the test stands, and the shares in words."""
        decision, proportions, tests = shares_decision(
            self.counts, self.shares, delta=self.delta, alpha=self.alpha, beta=self.beta
        )
        return decision, "; ".join(one.text for one in proportions), tests

    @property
    def surely_off(self) -> bool:
        """Whether the share is off whatever became of the requests that ran into the client's timeout."""
        return surely_rejected(
            self.counts, self.shares, _late(self.counts), delta=self.delta, alpha=self.alpha, beta=self.beta
        )


def judge_aborted(history: Aborted) -> Judgement:
    """The declared share is aborted with the declared status, and nothing of the other rule is."""
    total = sum(history.counts.values())
    evidence = Evidence(
        "what became of the requests",
        [
            {"rule": rule, "outcome": name, "requests": count}
            for rule, counts in (("with the fault", history.counts), ("without", history.others))
            for name, count in sorted(counts.items())
        ],
    )
    if not total or not sum(history.others.values()):
        return inconclusive("a part of the requests was not sent", evidence)
    decision, said, tests = history.decide()
    rates = share_rates(tests, total)
    late = _late(history.counts), _late(history.others)
    if strange := _strange(history.counts, {*history.shares}):
        return failed(f"requests ended in {', '.join(strange)}", evidence, error_rates=rates)
    if strange := _strange(history.others, {SERVED}):
        return failed(f"of a rule without a fault, requests ended in {', '.join(strange)}", evidence, error_rates=rates)
    if history.surely_off:
        return failed(said, evidence, error_rates=rates)
    if any(late):
        return inconclusive(f"{sum(late)} requests ran into a timeout", evidence, error_rates=rates)
    if decision is Decision.GO_ON:
        return inconclusive(f"undecided after {total} requests: {said}", evidence, error_rates=rates)
    return passed(said, evidence, error_rates=rates)


@check(
    id="RS-06",
    title="The declared share of requests is aborted",
    proves=("fault injection",),
    judge=judge_aborted,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPFaultInjection",
)
def aborts(ctx: Context) -> Aborted:
    """A status that the backend never answers with."""
    STANDING.hold(ctx, "faults")

    def send(path: str, count: int) -> Counter[str]:
        batch = Batch(
            url=ctx.url("faults", path=path),
            count=count,
            concurrency=WORKERS,
            timeout=LIMITS.request,
            fields=("version",),
        )
        return Counter(map(_outcome, ctx.client().batch(batch)))

    others, counts = send("/other", 100), Counter[str]()
    history = Aborted(ABORT_STATUS, ABORT_PERCENT, {}, dict(others), ctx.alpha)
    shares = history.shares
    tests = share_tests(shares, delta=DELTA, alpha=ctx.alpha, beta=BETA)
    while counts.total() < MOST and (count := next_samples(tests, counts, sum(counts[name] for name in shares))):
        counts += send("/abort", count)
    return replace(history, counts=dict(counts))


@dataclass(frozen=True)
class Delayed:
    """Requests that must be delayed, and requests of the same route's other rule."""

    delay: float
    delayed: tuple[Record, ...]
    others: tuple[Record, ...]


def judge_delayed(history: Delayed) -> Judgement:
    """All of the rule's requests take the delay, and are served; those of the other rule do not take it."""
    evidence = Evidence(
        "requests with and without a delay",
        [
            {
                "rule": rule,
                "requests": len(records),
                "outcomes": ", ".join(sorted(set(map(_outcome, records)))),
                "fastest ms": round(1000 * min((one.seconds for one in records), default=0.0), 1),
                "median ms": round(1000 * median(one.seconds for one in records), 1) if records else None,
            }
            for rule, records in (("delayed", history.delayed), ("other", history.others))
        ],
    )
    if not history.delayed or not history.others:
        return inconclusive("a part of the requests was not sent", evidence)
    outcomes = [Counter(map(_outcome, records)) for records in (history.delayed, history.others)]
    if strange := sorted({name for counts in outcomes for name in _strange(counts, {SERVED})}):
        return failed(f"requests ended in {', '.join(strange)}", evidence)
    fastest = min(one.seconds for one in history.delayed)
    if fastest < history.delay - 0.005:  # the client's clock starts a little before the mesh's
        return failed(f"a request took {1000 * fastest:.0f} ms, the delay is {1000 * history.delay:.0f} ms", evidence)
    if late := sum(map(_late, outcomes)):
        return inconclusive(f"{late} requests ran into a timeout", evidence)
    others = sorted(one.seconds for one in history.others)
    if others[0] >= history.delay:
        return failed("every request of the rule without a delay took as long as the delay", evidence)
    # A quarter is enough: no delay can make a request quicker, and a busy machine makes many slow.
    if others[len(others) // 4] >= history.delay:
        return inconclusive("the machine was too slow: without a delay most requests took as long", evidence)
    return passed(
        f"delayed by {1000 * history.delay:.0f} ms: at least {1000 * fastest:.0f} ms, otherwise "
        f"{1000 * others[0]:.1f} ms and more",
        evidence,
    )


@check(
    id="RS-07",
    title="Requests are delayed as declared",
    proves=("fault injection",),
    judge=judge_delayed,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPFaultInjection",
)
def delays(ctx: Context) -> Delayed:
    """One rule delays all of its requests, another none."""
    STANDING.hold(ctx, "faults")

    def send(path: str) -> tuple[Record, ...]:
        url = ctx.url("faults", path=path)
        batch = Batch(url=url, count=20, concurrency=10, timeout=LIMITS.request, fields=("version",))
        return tuple(ctx.client().batch(batch))

    return Delayed(DELAY, send("/delay"), send("/other"))


@dataclass(frozen=True)
class Limited:
    """Steady traffic far beyond a rate limit."""

    allowed: int
    per_seconds: float
    answers: tuple[tuple[float, float, str], ...]
    """Of each request: when it was sent and when it ended, epoch seconds, and what became of it."""

    @property
    def counts(self) -> Counter[str]:
        """Requests by what became of them."""
        return Counter(outcome for *_, outcome in self.answers)

    @property
    def lasted(self) -> float:
        """Seconds from the first request to the last end, which a busy machine may stretch."""
        return max((end for _, end, _ in self.answers), default=0.0) - self._first

    @property
    def _first(self) -> float:
        return min((sent for sent, *_ in self.answers), default=0.0)

    @property
    def bounds(self) -> tuple[float, float]:
        """Requests that must and that may be served, with half of it as slack to either side.

        At least what the limit allows in each window in which so many were sent; at most that in all and one more.
        """
        windows = Counter(int((sent - self._first) / self.per_seconds) for sent, *_ in self.answers)
        least = sum(min(sent, self.allowed) for sent in windows.values())
        return least / 2, 1.5 * self.allowed * (self.lasted / self.per_seconds + 1)


def judge_limited(history: Limited) -> Judgement:
    """What the limit allows is served, the rest is a 429."""
    total, (least, most) = sum(history.counts.values()), history.bounds
    evidence = Evidence(
        f"requests in {history.lasted:.1f} s, of which {history.allowed} in {history.per_seconds:g} s are allowed",
        [{"outcome": name, "requests": count} for name, count in sorted(history.counts.items())],
    )
    if total < 2 * most:
        return inconclusive(f"{total} requests are too few to tell a limit of {most:.0f}", evidence)
    if strange := _strange(history.counts, {SERVED, "status 429"}):
        return failed(f"requests ended in {', '.join(strange)}, not in a 429", evidence)
    # No chance in it: a limit that is kept is within the bounds whatever the machine does.
    rates = (
        ErrorRate(
            "requests served against bounds", 0.0, None, "less than half of the limit, or more than twice", total
        ),
    )
    served, late = history.counts[SERVED], _late(history.counts)
    if not least <= served + late or served > most:
        return failed(f"{served} requests were served, {least:.0f} to {most:.0f} may be", evidence, error_rates=rates)
    if late:
        return inconclusive(f"{late} requests ran into a timeout", evidence, error_rates=rates)
    return passed(f"{served} of {total} requests served, {least:.0f} to {most:.0f} may be; the rest 429", evidence,
                  error_rates=rates)  # fmt: skip


@check(
    id="RS-09",
    title="What is beyond a rate limit is a 429",
    proves=("rate limit",),
    judge=judge_limited,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="RFC 6585, section 4",
)
def rate_limit(ctx: Context) -> Limited:
    """The mark is a 429, which no backend of the service answers with."""
    limit = RateLimit(ctx.space("in"), "limited", 8080, 10, 1.0)
    ctx.apply(limit)
    url = ctx.url("limited")
    burst = Batch(url=url, count=100, concurrency=WORKERS, timeout=LIMITS.probe, fields=("version",))
    ctx.in_force(lambda: "status 429" in set(map(_outcome, ctx.client().batch(burst))), "a 429 for the service limited")
    steady = Batch(url=url, rate=100.0, duration=3.0, concurrency=32, timeout=LIMITS.request, fields=("version",))
    sent = ctx.client().batch(steady)
    answers = tuple((one.sent, one.start + one.seconds, _outcome(one)) for one in sent)
    return Limited(limit.requests, limit.seconds, answers)
