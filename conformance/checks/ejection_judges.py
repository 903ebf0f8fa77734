"""The judges of CB-01, 02, 03 and 07: each reads the same episode for another claim. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.checks.ejection import GRACE, Answer, Episode
from conformance.model import Judgement, failed, inconclusive, passed
from conformance.pulse import excused
from reports.model import Evidence, Verdict

__all__ = ["judge_ejected", "judge_healthy_unaffected", "judge_nothing_while_ejected", "judge_returns"]

STALL = 0.5
"""A beat past the mesh that took longer than this, seconds, means that the machine stood still: what failed at the same
time does not count."""
LONG_STALL = 1.5
"""What it takes to excuse a late return: the bound for that has seconds of slack for a busy machine in it already."""


def _with_plot(judgement: Judgement, history: Episode) -> Judgement:
    plots = (history.plot,) if history.answers else ()
    return Judgement(judgement.verdict, judgement.reason, judgement.evidence, judgement.error_rates, plots)


def _missed(history: Episode, asked: int) -> Evidence:
    """What the judgement could miss: a host that is still chosen, at random, as often as the others."""
    share = 1 / len(history.hosts)
    title = f"probability that a host which keeps its share of 1/{len(history.hosts)} goes unnoticed"
    return Evidence(title, f"{(1 - share) ** asked:.1e} after {asked} requests")


def _stalled(history: Episode, one: Answer) -> bool:
    return history.pulse.stall(one.start, one.end) > STALL


def _unless_stalled(
    judgement: Judgement, history: Episode, begin: float, end: float, limit: float = STALL
) -> Judgement:
    return excused(judgement, history.pulse.stall(begin, min(end, history.ended)), limit)


def _no_basis(history: Episode) -> Judgement | None:
    """Why nothing can be judged, if so."""
    if not history.answers or not history.hosts:
        return inconclusive("no request was sent")
    window = history.window
    if window is None:
        return inconclusive(
            f"the host answered {len(history.errors)} errors, {history.consecutive} are needed", *history.evidence
        )
    asked = len(history.within(window))
    if asked < 40:
        return inconclusive(f"only {asked} requests began while the host was ejected", *history.evidence)
    return None


def _ejected(history: Episode) -> Judgement:
    basis = _no_basis(history)
    if basis is not None:
        return _with_plot(basis, history)
    window = history.window
    asked = history.within(window) if window else []
    served = history.wrongly_served(window) if window else []
    evidence = (*history.evidence, _missed(history, len(asked)))
    if len(served) > len(asked) / (4 * len(history.hosts)):
        reason = f"{len(history.errors)} errors, and the host still answered {len(served)} of {len(asked)} requests"
        return _with_plot(failed(reason, *evidence), history)
    # Only the first ejection is judged: where the host was healed late, it came back failing and was ejected again.
    errors = sum(window is not None and one.start < window[1] for one in history.errors)
    most = history.consecutive + history.in_flight
    if errors > most:
        reason = f"ejected after {errors} errors; {history.consecutive} and those under way are allowed"
        return _with_plot(failed(reason, *evidence), history)
    reason = f"ejected after {errors} errors ({history.consecutive} in a row are the limit)"
    return _with_plot(passed(reason, *evidence), history)


def _nothing(history: Episode) -> Judgement:
    basis = _no_basis(history)
    if basis is not None:
        return basis
    window = history.window
    asked = history.within(window) if window else []
    evidence = (*history.evidence, _missed(history, len(asked)))
    served = history.wrongly_served(window) if window else []
    lost = [one for one in asked if not one.pod]
    counted = [one for one in lost if not _stalled(history, one)]
    if served:
        return failed(f"the host answered {len(served)} of {len(asked)} requests while it was ejected",
                      *evidence)  # fmt: skip
    if counted:
        return failed(f"{len(counted)} of {len(asked)} requests were answered by nobody while the host was ejected",
                      *evidence)  # fmt: skip
    if lost:
        return inconclusive(f"{len(lost)} of {len(asked)} requests got no answer while the machine stood still",
                            *evidence)  # fmt: skip
    if history.own_count is None:
        return inconclusive("the host could not tell what came to it while it was ejected",
                            *evidence)  # fmt: skip
    if history.own_count:
        return failed(f"by its own count the host answered {history.own_count} requests while it was ejected",
                      *evidence)  # fmt: skip
    return passed(f"all {len(asked)} requests went to the other hosts; the host itself counted none",
                  *evidence)  # fmt: skip


def _returns(history: Episode) -> Judgement:
    basis = _no_basis(history)
    if basis is not None:
        return basis
    gone = _ejected(history)
    if gone.verdict is not Verdict.PASS:
        return failed("the host was never ejected, so it cannot return", *history.evidence)
    at, began, back = history.ejected_at or 0.0, history.ejection_began or 0.0, history.back_at
    if back is None:
        if history.ended - at < history.latest:
            return inconclusive("the traffic ended before the host had to be back", *history.evidence)
        return failed(f"not back within {history.latest:g} s of its ejection", *history.evidence)
    # The client saw the ejecting error a little after the proxy did: away for `least` to `most` seconds.
    first = min(one.end for one in history.of_host if one.start >= back)
    least, most = back - at, first - began
    if most < 0.9 * history.ejection:
        return failed(f"back after {most:.2f} s, the ejection time is {history.ejection:g} s", *history.evidence)
    if least > history.latest:
        return failed(f"back after {least:.2f} s, at most {history.latest:g} s are allowed", *history.evidence)
    return passed(f"back after {least:.2f} s (ejection time {history.ejection:g} s)", *history.evidence)


def _unaffected(history: Episode) -> Judgement:
    basis = _no_basis(history)
    if basis is not None:
        return basis
    if _ejected(history).verdict is not Verdict.PASS:
        return failed("no host was ejected: that the others serve proves nothing", *history.evidence)
    wrong = [one for one in history.answers if one.pod != history.host and (one.error or one.status != 200)]
    if wrong and all(_stalled(history, one) for one in wrong):
        return inconclusive(f"{len(wrong)} requests failed, all while the machine stood still", *history.evidence)
    if wrong:
        return failed(f"{len(wrong)} requests failed away from the failing host: {_kinds(wrong)}", *history.evidence)
    window = history.window
    asked = history.within(window) if window else []
    healthy = [name for name in history.hosts if name != history.host]
    counts = {name: sum(one.pod == name for one in asked) for name in healthy}
    if silent := [name for name, count in counts.items() if count < len(asked) / (4 * len(healthy))]:
        return failed(f"{', '.join(silent)} got hardly anything while the other was ejected", *history.evidence)
    others = sum(one.pod != history.host for one in history.answers)
    return passed(f"{others} requests to the healthy hosts, not one failed", *history.evidence)


def _kinds(answers: Sequence[Answer]) -> str:
    counts: dict[str, int] = {}
    for one in answers:
        kind = one.error or f"status {one.status}"
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{count}× {kind}" for kind, count in counts.items())


def judge_ejected(history: Episode) -> Judgement:
    """After the errors that eject, and those under way, the host answers no more."""
    at = history.ejected_at or history.broken
    return _unless_stalled(_ejected(history), history, history.broken, at + GRACE)


def judge_nothing_while_ejected(history: Episode) -> Judgement:
    """While it is ejected not one request reaches the host, and every request is accounted for by another."""
    at = history.ejected_at or history.broken
    return _unless_stalled(_nothing(history), history, at, at + history.ejection)


def judge_returns(history: Episode) -> Judgement:
    """The host answers again, not before the ejection time and not long after it."""
    limit = LONG_STALL if _ejected(history).verdict is Verdict.PASS else STALL
    return _unless_stalled(_returns(history), history, history.broken, history.ended, limit)


def judge_healthy_unaffected(history: Episode) -> Judgement:
    """All through the episode the healthy hosts answer every request they get, and each takes its part."""
    found = _unaffected(history)
    if any(not one.pod or one.status != 200 for one in history.answers if one.pod != history.host):
        return found  # each failed request has been held against the pulse by itself
    at = history.ejected_at or history.broken
    return _unless_stalled(found, history, history.broken, at + history.ejection)
