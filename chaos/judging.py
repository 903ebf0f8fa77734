"""Judgements that experiments share. Pure: a history in, a verdict out; no data is never a pass."""

from __future__ import annotations

from chaos.measures import added_errors, before, disturbed, during, lateness, safety, silences
from chaos.model import History, Judge, Judgement
from reports.model import Verdict

__all__ = [
    "BUSY_SECONDS",
    "MIN_REFUSALS",
    "MIN_REQUESTS",
    "judged",
    "no_added_errors",
    "stood_still",
    "unrecovered",
]

MIN_REQUESTS = 100
"""Requests from the injection to the end below which nothing is said: with none of n lost, the 95 % bound is 3/n."""
MIN_REFUSALS = 2
"""Refusals of each attack while the fault is on, below which safety is not shown."""

BUSY_SECONDS = 0.010
"""The p90 of the driver's own lateness above which a failure is not blamed on the mesh. A breach of safety still is."""


def judged(own: Judge) -> Judge:
    """Wrap an experiment's own judgement in what holds for all.

    A breach of safety fails whatever else happened. A fault that did not land, a shaky baseline or too little data
    is inconclusive. Only then is the experiment's hypothesis asked for, and last whether safety was tested at all.
    """

    def judge(history: History) -> Judgement:
        marks = history.marks
        safe = safety(history.attempts, marks.injected, marks.undone)
        if safe.through:
            return Judgement(
                Verdict.FAIL, f"{safe.through} requests without rights were served, the first by {safe.first}"
            )
        if why := _nothing_to_judge(history):
            return Judgement(Verdict.INCONCLUSIVE, why)
        verdict = own(history)
        if verdict.verdict is Verdict.PASS and marks.recovered is None:
            verdict = unrecovered(history)
        late = lateness(history)
        if verdict.verdict is Verdict.FAIL and late is not None and late > BUSY_SECONDS:
            return Judgement(
                Verdict.INCONCLUSIVE,
                f"the machine was too busy to blame the mesh (clocks {late * 1000:.0f} ms late): {verdict.reason}",
            )
        if verdict.verdict is Verdict.FAIL and history.strays:
            return Judgement(
                Verdict.INCONCLUSIVE,
                f"the cluster did something to pods of the experiment ({', '.join(history.strays)}): {verdict.reason}",
            )
        if verdict.verdict is Verdict.FAIL and history.crashes:
            return Judgement(Verdict.FAIL, f"{verdict.reason}; meanwhile {', '.join(history.crashes)}")
        if verdict.verdict is not Verdict.PASS:
            return verdict
        untested = sorted(name for name, count in safe.refusals.items() if count < MIN_REFUSALS)
        if untested:
            return Judgement(
                Verdict.INCONCLUSIVE,
                f"{verdict.reason}; but safety was not tested: too few refusals of {', '.join(untested)}",
            )
        total = sum(safe.refusals.values())
        return Judgement(Verdict.PASS, f"{verdict.reason}; {total} attempts without rights, all refused")

    return judge


def _nothing_to_judge(history: History) -> str:
    """Why no hypothesis can be judged by this history; "" where one can."""
    if history.unasked:
        return f"whether the fault landed is not known: {history.unasked}"
    if not history.landed:
        return "the fault did not land: nothing but its own injection shows it"
    if not history.held:
        return "the fault did not stay: at the end of its hold nothing showed it any more"
    base, rest = before(history), disturbed(history)
    if base.requests == 0:
        return "no request was recorded before the fault"
    if base.errors:
        return f"no steady state: {base.errors} of {base.requests} requests failed before it"
    if rest.requests < MIN_REQUESTS or during(history).requests == 0:
        return f"{rest.requests} requests from the fault on are too few (at least {MIN_REQUESTS} are needed)"
    return ""


def unrecovered(history: History) -> Judgement:
    """What is to be said where not everything was well again in time: a pod that starts slowly fails no mesh."""
    marks = history.marks
    if marks.steady is None:
        return Judgement(Verdict.FAIL, "traffic was not steady again after the fault was taken back")
    if marks.ready is None:
        waited = marks.ended - marks.undone
        return Judgement(
            Verdict.INCONCLUSIVE, f"traffic was steady again, but {history.awaited} was not ready within {waited:.0f} s"
        )
    return Judgement(Verdict.FAIL, f"not everything that must hold held again after {history.awaited} was ready")


def no_added_errors(history: History) -> Judgement:
    """The hypothesis that traffic goes on: not one error, and no standstill, from the injection to the end."""
    errors, rest = added_errors(history), disturbed(history)
    if errors:
        return Judgement(Verdict.FAIL, f"{errors} of {rest.requests} requests failed from the fault on")
    return stood_still(history) or Judgement(Verdict.PASS, f"none of {rest.requests} requests failed")


def stood_still(history: History, since: float = 0.0) -> Judgement | None:
    """What is to be said where traffic stood still, later than `since` seconds after the injection; None where not."""
    injected = history.marks.injected
    found = [one for one in silences(history) if one.end > injected + since]
    if not found:
        return None
    worst = max(found, key=lambda one: one.seconds - one.stood)
    told = f"no request was served from {worst.start - injected:.1f} to {worst.end - injected:.1f} s after the fault"
    if worst.meshs:
        return Judgement(Verdict.FAIL, told)
    return Judgement(Verdict.INCONCLUSIVE, f"{told}; the machine itself stood still for {worst.stood:.1f} s of that")
