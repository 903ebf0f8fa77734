"""The history of a host that fails, is ejected and comes back. Pure; `ejection_judges` judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conformance.arrivals import Arrivals
from conformance.pulse import STEADY, Pulse
from fixtures.workloads.traffic import Record
from reports.model import Evidence, Plot

__all__ = ["GRACE", "Answer", "Episode"]

GRACE = 1.2
"""The ejection must be in effect this many seconds after the error that ejects: every worker of the proxy must learn of
it. An idle machine takes a hundredth of that; with forty runnable processes on two cores 0.7 s were seen."""


@dataclass(frozen=True)
class Answer:
    """One request of the steady traffic."""

    start: float
    """When it was really sent, not when it was due."""
    seconds: float
    pod: str
    """The pod that answered, "" if none did."""
    status: int | None
    error: str | None

    @classmethod
    def of(cls, record: Record) -> Answer:
        """From the client's record."""
        return cls(record.sent, record.seconds - record.late, record.pod or "", record.status, record.error)

    @property
    def end(self) -> float:
        """When the answer or the error was there."""
        return self.start + self.seconds


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
    arrivals: Arrivals | None = None
    """What the failing host itself knows, asked at the end."""
    pulse: Pulse = STEADY
    """Requests to the healthy hosts, from outside of the mesh and through the client's proxy, past what is judged."""

    @property
    def own_count(self) -> int | None:
        """Requests that the host itself counted while it was ejected; None if it could not tell."""
        at, began = self.ejected_at, self.ejection_began
        if at is None or began is None or self.arrivals is None:
            return None
        begin = at + GRACE
        came = self.arrivals.between(begin, began + self.ejection)
        if came is None:
            return None
        # What was on its way when the ejection took effect may come late, and is no fault.
        late = sum(one.start <= begin < one.end for one in self.of_host)
        return max(0, came - late)

    @property
    def of_host(self) -> list[Answer]:
        """The failing host's answers."""
        return [one for one in self.answers if one.pod == self.host]

    @property
    def errors(self) -> list[Answer]:
        """What the failing host answered wrongly."""
        return [one for one in self.of_host if one.status == 500]

    @property
    def ejected_at(self) -> float | None:
        """When the error that must eject had been answered; None if there were not enough."""
        ends = sorted(one.end for one in self.errors)
        return ends[self.consecutive - 1] if len(ends) >= self.consecutive else None

    @property
    def ejection_began(self) -> float | None:
        """The earliest moment at which the proxy can have ejected the host: it had to be sent that many requests."""
        starts = sorted(one.start for one in self.errors)
        return starts[self.consecutive - 1] if len(starts) >= self.consecutive else None

    @property
    def window(self) -> tuple[float, float] | None:
        """The time in which the host is ejected for sure.

        From its last answer before the ejection had to be in effect: that is the mark of the ejection. To the earliest
        moment at which it may be let in again.
        """
        at, began = self.ejected_at, self.ejection_began
        if at is None or began is None:
            return None
        mark = max((one.start for one in self.of_host if at < one.start <= at + GRACE), default=at)
        return mark, began + 0.9 * self.ejection

    def within(self, window: tuple[float, float]) -> list[Answer]:
        """Requests that were sent in a window."""
        return [one for one in self.answers if window[0] < one.start < window[1]]

    def wrongly_served(self, window: tuple[float, float]) -> list[Answer]:
        """Answers of the host to requests sent in a window, and so early that it cannot have been let in again.

        A request that was sent in time may have been held up until the host was back; then its answer came late.
        """
        back = (self.ejection_began or 0.0) + self.ejection
        return [one for one in self.within(window) if one.pod == self.host and one.end < back]

    @property
    def back_at(self) -> float | None:
        """When the host answered again after its ejection began; None if it never did."""
        at = self.ejected_at
        if at is None:
            return None
        return min((one.start for one in self.of_host if one.start > at + GRACE), default=None)

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
            "last answer before the ejection took effect at s": round(window[0] - first, 2) if window else None,
            "unanswered requests": sum(not one.pod for one in self.answers),
            "counted by the host itself while ejected": self.own_count,
            "slowest beat s": round(max((seconds for _, seconds in self.pulse.beats), default=0.0), 3),
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
