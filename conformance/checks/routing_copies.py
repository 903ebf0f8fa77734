"""RT: mirrored requests. Who got a copy is the backends' own count, by a key that the client's requests carry."""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.catalogue import check
from conformance.checks.routing_ground import GROUND, STANDING, TO_V1, V2, offer
from conformance.context import LIMITS, Context
from conformance.intents import Mirror, RequestMatch, RouteRule
from conformance.model import Judgement, failed, inconclusive, passed
from conformance.stalls import few_late
from conformance.statistics import Decision, shares_decision, surely_rejected
from fixtures.workloads.traffic import Batch
from reports.model import ErrorRate, Evidence

__all__ = ["PERCENT", "Mirrored", "judge_mirrored"]

PERCENT = 30
DELTA, BETA = 0.1, 1e-3
LATE = "timeout"
WHOLE, BATCH, MOST = 60, 400, 4000
CALM = 0.3
"""Copies are sent without waiting for them: when those are there that should come, the count is taken once it stands
still for so long, seconds: there may be others that should not."""

offer(
    "mirror",
    (
        RouteRule(TO_V1, (RequestMatch(prefix="/part"),), mirror=Mirror(V2, PERCENT)),
        RouteRule(TO_V1, (RequestMatch(prefix="/none"),)),
        RouteRule(TO_V1, mirror=Mirror(V2)),
    ),
)


@dataclass(frozen=True)
class Mirrored:
    """Requests of one rule, and the copies that the other backend counted."""

    words: str
    percent: int
    answers: tuple[str, ...]
    """By request: the version whose answer the client got, or the error."""
    primary: int
    """Requests that the backend of the rule counted."""
    copies: int
    alpha: float

    @property
    def decision(self) -> Decision:
        """Where the test of the percentage stands."""
        counts = {"copied": self.copies, "not": len(self.answers) - self.copies}
        weights = {"copied": self.percent, "not": 100 - self.percent}
        if not self.answers or self.copies > len(self.answers):
            return Decision.GO_ON
        return shares_decision(counts, weights, delta=DELTA, alpha=self.alpha, beta=BETA)[0]

    @property
    def surely_off(self) -> bool:
        """Whether the percentage is off, copies or not, whatever became of the late requests."""
        weights = {"copied": self.percent, "not": 100 - self.percent}
        counts = {"copied": self.copies, "not": max(0, len(self.answers) - self.copies - self.late)}
        return surely_rejected(counts, weights, self.late, delta=DELTA, alpha=self.alpha, beta=BETA)

    @property
    def late(self) -> int:
        """Requests that ran into the client's timeout, where those are few."""
        return few_late(self.answers.count(LATE), len(self.answers))

    @property
    def wrong(self) -> str:
        """What is wrong; "" if nothing is."""
        sent = len(self.answers)
        late = self.late
        if strange := Counter(name for name in self.answers if name != "v1" and not (late and name == LATE)):
            name, count = strange.most_common(1)[0]
            return f"{count} of {sent} answers came from {name}, not from the rule's backend"
        if not sent - late <= self.primary <= sent:  # what a late request came to is not known
            return f"{sent} requests were sent, the rule's backend counted {self.primary}"
        if self.copies > sent:
            return f"{self.copies} copies of {sent} requests"
        if self.percent in {0, 100}:
            wanted = sent * self.percent // 100
            if not min(wanted, sent - late) <= self.copies <= wanted:
                return f"{self.copies} copies of {sent} requests, {wanted} were declared"
            return ""
        if self.surely_off:
            return f"{self.copies} copies of {sent} requests, {self.percent} % were declared"
        return ""


def judge_mirrored(history: Sequence[Mirrored]) -> Judgement:
    """Clients get the answers of the rule's backend, and the declared share of requests is copied, none twice."""
    evidence = Evidence(
        "requests and their copies",
        [
            {
                "route": one.words,
                "declared %": one.percent,
                "requests": len(one.answers),
                "answers": ", ".join(f"{name} {count}×" for name, count in Counter(one.answers).items()),
                "counted by the backend": one.primary,
                "copies counted": one.copies,
            }
            for one in history
        ],
    )
    if not history or not all(one.answers for one in history):
        return inconclusive("no request was sent", evidence)
    rates = tuple(
        ErrorRate(
            f"sequential probability ratio test of {one.percent} %, by {one.words}",
            one.alpha,
            BETA,
            f"a share off by {100 * DELTA:g} points",
            len(one.answers),
        )
        for one in history
        if one.percent not in {0, 100}
    )
    for one in history:
        if one.wrong:
            return failed(f"by {one.words}, {one.percent} %: {one.wrong}", evidence, error_rates=rates)
    if late := sum(one.late for one in history):
        return inconclusive(f"{late} requests ran into a timeout", evidence, error_rates=rates)
    if any(one.decision is Decision.GO_ON for one in history if one.percent not in {0, 100}):
        return inconclusive("too few requests to tell the percentage", evidence, error_rates=rates)
    said = "; ".join(f"{one.percent} %: {one.copies} of {len(one.answers)}" for one in history)
    return passed(f"copied {said}; every answer from the rule's backend", evidence, error_rates=rates)


@check(
    id="RT-13",
    title="Requests are mirrored, and the mirror's answer is dropped",
    proves=("mirroring",),
    judge=judge_mirrored,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httprequestmirrorfilter",
)
def mirrored(ctx: Context) -> list[Mirrored]:
    """All requests of one rule are copied, a share of another's, none of a third."""
    found = []
    routes = STANDING.hold(ctx, "mirror-version", "mirror-service")
    for held in routes:
        for path, percent in (("/", 100), ("/none", 0), ("/part", PERCENT)):
            # One test of a share each: what the check may err is divided among them.
            found.append(_send(ctx, held, path, percent, ctx.alpha / len(routes)))
    return found


def _send(ctx: Context, service: str, path: str, percent: int, alpha: float) -> Mirrored:
    key, answers = secrets.token_hex(8), list[str]()
    words = service.rpartition("-")[2]
    while True:
        batch = Batch(
            url=ctx.url(service, path=path),
            headers={"x-meshproof-key": key},
            count=WHOLE if percent in {0, 100} else BATCH,
            concurrency=4,
            timeout=LIMITS.request,
            fields=("version",),
        )
        answers += [str(one.version or one.error or one.status) for one in ctx.client().batch(batch)]
        copies = _settled(ctx, key, math.ceil(len(answers) * least(percent)))
        history = Mirrored(words, percent, tuple(answers), ctx.counted(key, "web-v1"), copies, alpha)
        if (
            percent in {0, 100}
            or history.wrong
            or history.late
            or history.decision is not Decision.GO_ON
            or len(answers) >= MOST
        ):
            return history


def least(percent: int) -> float:
    """The share of copies that is waited for: all where all are copied; else what a sound mesh hardly stays below."""
    return percent / 100 if percent in {0, 100} else percent / 100 - DELTA / 2


def _settled(ctx: Context, key: str, wanted: int) -> int:
    """The mirror's count, once it stands still: not before so many copies came, unless they never do."""
    ctx.watch(lambda: ctx.counted(key, "web-v2") >= wanted, LIMITS.request)
    last, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        count = ctx.counted(key, "web-v2")
        if count != last:
            last, since = count, time.monotonic()
        return time.monotonic() - since >= CALM

    ctx.until(still, "the mirror's count stands still", LIMITS.request)
    return last
