"""From a history and its judgement to a Result. Pure."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from chaos.experiment import Experiment
from chaos.figures import metrics, timeline
from chaos.judging import MIN_REFUSALS
from chaos.measures import disturbed, lost, safety
from chaos.model import History, Judgement
from reports.model import JSON, ErrorRate, Evidence, Plot, Result, Verdict

__all__ = ["result_of", "undecided", "without_history"]


def result_of(experiment: Experiment, history: History) -> Result:
    """Judge and report. A judge that crashes has judged nothing: inconclusive, with the reason.

    How to do it again is for the caller to say, who knows the cluster: an experiment on another one does harm there.
    """
    evidence: list[Evidence] = []
    unasked = bool(history.unasked)
    try:
        judgement = experiment.judge(history)
    except Exception as crash:  # noqa: BLE001 - a defect of ours must neither pass nor fail a mesh
        unasked = True
        judgement = Judgement(Verdict.INCONCLUSIVE, f"the judge crashed: {crash!r}")
        evidence.append(Evidence("crash of the judge", traceback.format_exc()))
    verdict = judgement.verdict
    if verdict is Verdict.INCONCLUSIVE and (history.landed or unasked):
        verdict = undecided(experiment)
    marks, rest = history.marks, disturbed(history)
    safe = safety(history.attempts, marks.injected, marks.undone)
    refusals: list[JSON] = [{"attack": name, "refused": count} for name, count in sorted(safe.refusals.items())]
    failures: dict[str, int] = {}
    for sample in history.samples:
        if lost(history, sample):
            word = "too late" if sample.good else sample.error or str(sample.status)
            failures[word] = failures.get(word, 0) + 1
    evidence += [
        Evidence("fault", {"name": experiment.fault, "shown by": history.landed or "nothing", **history.facts}),
        Evidence("attempts without rights, refused during the fault", refusals),
        Evidence("errors by kind", dict(sorted(failures.items()))),
        Evidence("percentiles", f"of {'all requests, also those cut off' if history.cuts else 'the requests served'}"),
    ]
    return Result(
        id=experiment.id,
        title=experiment.title,
        kind="experiment",
        group="chaos",
        level="core",
        verdict=verdict,
        reason=judgement.reason,
        proves=experiment.proves,
        started=marks.started,
        seconds=marks.ended - marks.started,
        evidence=tuple(evidence),
        error_rates=(*((_no_error(rest.requests),) if experiment.lossless else ()), _no_bypass(safe.refusals)),
        plots=(Plot("timeline", f"{experiment.id}: {experiment.title}", timeline(history)),),
        metrics=metrics(history),
        expected=experiment.expected,
    )


def _no_error(requests: int) -> ErrorRate:
    return ErrorRate(
        test="no error among n requests (rule of three)",
        alpha=0.0,
        beta=0.05,
        detectable=f"an error rate of {min(1.0, 3 / requests):.2%}" if requests else "nothing: no request",
        samples=requests,
    )


def _no_bypass(refusals: Mapping[str, int]) -> ErrorRate:
    """The attack that was tried least decides: what lets one of them through need not let the others through."""
    least = min(refusals.values(), default=0)
    share = f"{min(1.0, 3 / least):.1%} of the attempts of one attack" if least else ""
    return ErrorRate(
        test=f"at least {MIN_REFUSALS} refusals of each attack and no success (rule of three)",
        alpha=0.0,
        beta=0.05,
        detectable=f"a bypass that works in {share}" if share else "nothing: an attack was never refused",
        samples=least,
    )


def undecided(experiment: Experiment) -> Verdict:
    """The verdict where an experiment could not be carried out, or judged, as it must.

    Where a sham is expected to be inconclusive, that is no sign of having seen through it.
    """
    return Verdict.INCONCLUSIVE if experiment.expected is Verdict.PASS else Verdict.NOT_RUN


def without_history(
    experiment: Experiment,
    verdict: Verdict,
    reason: str,
    started: float,
    seconds: float,
    evidence: tuple[Evidence, ...] = (),
) -> Result:
    """The Result of an experiment that recorded nothing that could be judged."""
    return Result(
        id=experiment.id,
        title=experiment.title,
        kind="experiment",
        group="chaos",
        level="core",
        verdict=verdict,
        reason=reason,
        proves=experiment.proves,
        started=started,
        seconds=seconds,
        evidence=evidence,
        expected=experiment.expected,
    )
