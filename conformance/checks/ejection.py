"""The history of a host that fails, is ejected and comes back, and the judges of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import ErrorRate, Evidence, Plot, Verdict

__all__ = [
    "Answer",
    "Count",
    "Episode",
    "judge_ejected",
    "judge_healthy_unaffected",
    "judge_nothing_while_ejected",
    "judge_returns",
]

GRACE = 1.2
"""Seconds between the error that ejects and the moment when every worker of the proxy knows. An idle machine takes a
hundredth of that; with forty runnable processes on two cores 0.7 s were seen."""


@dataclass(frozen=True)
class Answer:
    """One request of the steady traffic."""

    start: float
    seconds: float
    pod: str
    """The pod that answered, "" if none did."""
    status: int | None
    error: str | None


@dataclass(frozen=True)
class Count:
    """How many requests the failing host had answered at a moment, by its own count."""

    at: float
    served: int


@dataclass(frozen=True)
class Episode:
    """Steady traffic to several hosts, one of which fails from `broken` to `healed`. Times are epoch seconds."""

    host: str
    """The pod that fails."""
    hosts: tuple[str, ...]
    consecutive: int
    """Errors in a row that eject."""
    ejection: float
    """Seconds a first ejection lasts."""
    latest: float
    """Seconds from the ejection in which the host must be back."""
    in_flight: int
    """Most requests that were under way at once."""
    broken: float
    healed: float
    ended: float
    answers: tuple[Answer, ...]
    counts: tuple[Count, ...] = ()
    """The failing host's own count, at least twice while it is ejected."""

    @property
    def own_count(self) -> int | None:
        """Requests that the host itself counted while it was ejected; None if it was not asked twice in that time."""
        window = self.window
        counts = [one.served for one in self.counts if window and window[0] <= one.at <= window[1]]
        return counts[-1] - counts[0] if len(counts) >= 2 else None

    @property
    def errors(self) -> list[Answer]:
        """What the failing host answered wrongly."""
        return [one for one in self.answers if one.pod == self.host and one.status == 500]

    @property
    def ejected_at(self) -> float | None:
        """When the error that must eject had been answered; None if there were not enough."""
        ends = sorted(one.start + one.seconds for one in self.errors)
        return ends[self.consecutive - 1] if len(ends) >= self.consecutive else None

    @property
    def window(self) -> tuple[float, float] | None:
        """The time in which the host is ejected for sure."""
        at = self.ejected_at
        return None if at is None else (at + GRACE, at + 0.9 * self.ejection)

    def within(self, window: tuple[float, float]) -> list[Answer]:
        """Requests that began in a window."""
        return [one for one in self.answers if window[0] <= one.start < window[1]]

    @property
    def back_at(self) -> float | None:
        """When the host answered again after its ejection began; None if it never did."""
        at = self.ejected_at
        if at is None:
            return None
        return min((one.start for one in self.answers if one.pod == self.host and one.start > at + GRACE), default=None)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        window = self.window
        first = min((one.start for one in self.answers), default=0.0)
        rows: list[dict[str, Any]] = []
        for name in sorted(self.hosts):
            of_host = [one for one in self.answers if one.pod == name]
            rows.append(
                {
                    "host": name + (" (fails)" if name == self.host else ""),
                    "answers": len(of_host),
                    "errors": sum(one.status != 200 for one in of_host),
                    "while ejected": len([one for one in self.within(window) if one.pod == name]) if window else 0,
                }
            )
        times = {
            "fails at s": round(self.broken - first, 2),
            "ejecting error at s": round(self.ejected_at - first, 2) if self.ejected_at else None,
            "healed at s": round(self.healed - first, 2),
            "back at s": round(self.back_at - first, 2) if self.back_at else None,
            "ended at s": round(self.ended - first, 2),
            "unanswered requests": sum(not one.pod for one in self.answers),
            "counted by the host itself while ejected": self.own_count,
        }
        return Evidence("answers by host", rows), Evidence("course of the episode", times)

    @property
    def plot(self) -> Plot:
        """Answers per quarter of a second, by host."""
        first = min((one.start for one in self.answers), default=0.0)
        series: list[dict[str, Any]] = []
        for name in sorted(self.hosts):
            buckets: dict[int, int] = {}
            for one in self.answers:
                if one.pod == name:
                    slot = int((one.start - first) * 4)
                    buckets[slot] = buckets.get(slot, 0) + 1
            last = int((self.ended - first) * 4)
            points = [[slot / 4, 4 * buckets.get(slot, 0)] for slot in range(last + 1)]
            series.append({"name": name, "unit": "answers/s", "points": points})
        marks: list[dict[str, Any]] = [{"name": "healed", "t": self.healed - first}]
        if self.ejected_at:
            marks.insert(0, {"name": "ejecting error", "t": self.ejected_at - first})
        window: dict[str, Any] = {"name": "host fails", "start": self.broken - first, "end": self.healed - first}
        return Plot("timeline", "answers by host", {"series": series, "windows": [window], "marks": marks})


def _with_plot(judgement: Judgement, history: Episode) -> Judgement:
    plots = (history.plot,) if history.answers else ()
    return Judgement(judgement.verdict, judgement.reason, judgement.evidence, judgement.error_rates, plots)


def _rate(history: Episode, asked: int) -> tuple[ErrorRate, ...]:
    share = 1 / len(history.hosts)
    return (
        ErrorRate(
            "no answer of the ejected host",
            0.0,
            (1 - share) ** asked,
            f"a host that keeps its share of 1/{len(history.hosts)}",
            asked,
        ),
    )


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


def judge_ejected(history: Episode) -> Judgement:
    """After the errors that eject, and those under way, the host answers no more."""
    basis = _no_basis(history)
    if basis is not None:
        return _with_plot(basis, history)
    window = history.window
    asked = history.within(window) if window else []
    served = [one for one in asked if one.pod == history.host]
    rates = _rate(history, len(asked))
    if len(served) > len(asked) / (4 * len(history.hosts)):
        reason = f"{len(history.errors)} errors, and the host still answered {len(served)} of {len(asked)} requests"
        return _with_plot(failed(reason, *history.evidence, error_rates=rates), history)
    most = history.consecutive + history.in_flight
    if len(history.errors) > most:
        reason = f"ejected after {len(history.errors)} errors; {history.consecutive} and those under way are allowed"
        return _with_plot(failed(reason, *history.evidence, error_rates=rates), history)
    reason = f"ejected after {len(history.errors)} errors ({history.consecutive} in a row are the limit)"
    return _with_plot(passed(reason, *history.evidence, error_rates=rates), history)


def judge_nothing_while_ejected(history: Episode) -> Judgement:
    """While it is ejected not one request reaches the host, and every request is accounted for by another."""
    basis = _no_basis(history)
    if basis is not None:
        return basis
    window = history.window
    asked = history.within(window) if window else []
    rates = _rate(history, len(asked))
    served = [one for one in asked if one.pod == history.host]
    lost = [one for one in asked if not one.pod]
    if served:
        return failed(f"the host answered {len(served)} of {len(asked)} requests while it was ejected",
                      *history.evidence, error_rates=rates)  # fmt: skip
    if lost:
        return failed(f"{len(lost)} of {len(asked)} requests were answered by nobody while the host was ejected",
                      *history.evidence, error_rates=rates)  # fmt: skip
    if history.own_count is None:
        return inconclusive("the host was not asked for its own count twice while it was ejected",
                            *history.evidence, error_rates=rates)  # fmt: skip
    if history.own_count:
        return failed(f"by its own count the host answered {history.own_count} requests while it was ejected",
                      *history.evidence, error_rates=rates)  # fmt: skip
    return passed(f"all {len(asked)} requests went to the other hosts; the host itself counted none",
                  *history.evidence, error_rates=rates)  # fmt: skip


def judge_returns(history: Episode) -> Judgement:
    """The host answers again, not before the ejection time and not long after it."""
    basis = _no_basis(history)
    if basis is not None:
        return basis
    gone = judge_ejected(history)
    if gone.verdict is not Verdict.PASS:
        return failed("the host was never ejected, so it cannot return", *history.evidence)
    at, back = history.ejected_at or 0.0, history.back_at
    if back is None:
        if history.ended - at < history.latest:
            return inconclusive("the traffic ended before the host had to be back", *history.evidence)
        return failed(f"not back within {history.latest:g} s of its ejection", *history.evidence)
    away = back - at
    if away < 0.9 * history.ejection:
        return failed(f"back after {away:.2f} s, the ejection time is {history.ejection:g} s", *history.evidence)
    if away > history.latest:
        return failed(f"back after {away:.2f} s, at most {history.latest:g} s are allowed", *history.evidence)
    return passed(f"back after {away:.2f} s (ejection time {history.ejection:g} s)", *history.evidence)


def judge_healthy_unaffected(history: Episode) -> Judgement:
    """All through the episode the healthy hosts answer every request they get, and each takes its part."""
    basis = _no_basis(history)
    if basis is not None:
        return basis
    if judge_ejected(history).verdict is not Verdict.PASS:
        return failed("no host was ejected: that the others serve proves nothing", *history.evidence)
    wrong = [one for one in history.answers if one.pod != history.host and (one.error or one.status != 200)]
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
