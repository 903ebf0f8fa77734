"""A check's result: of a judgement, and of a check that no judge was asked about, with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.adapters.none import NoMesh
from conformance.model import Judgement, inconclusive
from reports.model import Result, Verdict

if TYPE_CHECKING:
    from conformance.model import Check
    from conformance.runner import Options

__all__ = ["as_result", "is_unreached", "passed_over", "unjudged", "unreached", "without_verdict", "worker_died"]

UNREACHED = "the run ended before it was judged"


def unjudged(check: Check) -> Result:
    """What the catalogue says of a check, as a result that nobody has come to yet."""
    return Result(
        id=check.id,
        title=check.title,
        kind="check",
        group=check.group,
        level=check.level,
        verdict=Verdict.NOT_RUN,
        reason="",
        proves=check.proves,
        requires=check.requires,
        reference=check.reference,
    )


def as_result(
    options: Options, check: Check, judgement: Judgement, started: float = 0.0, seconds: float = 0.0
) -> Result:
    """The result of a check; begun at `started` (seconds since the epoch), and `seconds` long."""
    return replace(
        unjudged(check),
        verdict=judgement.verdict,
        reason=judgement.reason,
        started=started,
        seconds=seconds,
        evidence=judgement.evidence,
        error_rates=judgement.error_rates,
        plots=judgement.plots,
        reproduce=options.reproduce.replace("{id}", check.id),
        # The negative control: a check that passes on nothing passes on anything.
        expected=Verdict.FAIL if options.mesh == NoMesh.name else Verdict.PASS,
    )


def passed_over(options: Options, check: Check, started: float = 0.0) -> Result | None:
    """The result of a check whose body does not run, as it is excused or the mesh is spared; None for any other."""
    if reason := options.excused.get(check.id):
        return as_result(options, check, Judgement(Verdict.UNSUPPORTED, reason), started)
    if reason := options.spared.get(check.id):
        return replace(without_verdict(options, check, reason, started), left_out=True)
    return None


def without_verdict(options: Options, check: Check, why: str, started: float = 0.0, seconds: float = 0.0) -> Result:
    """The result of a check that was to be judged, and was not."""
    return as_result(options, check, Judgement(Verdict.NOT_RUN, why), started, seconds)


def worker_died(options: Options, check: Check) -> Result:
    """The result of a check whose process died: it is not judged again, for what it left on its ground is unknown."""
    return as_result(options, check, inconclusive("its worker died before it had a verdict"))


def unreached(options: Options, check: Check, why: str = "") -> Result:
    """The result of a check that a run, which ended early for the reason `why`, did not come to."""
    return passed_over(options, check) or without_verdict(options, check, f"{UNREACHED}{why and ': '}{why}")


def is_unreached(result: Result) -> bool:
    """Whether the run ended before anybody came to this check: in a later run it may well have a verdict."""
    return result.verdict is Verdict.NOT_RUN and result.reason.startswith(UNREACHED)
