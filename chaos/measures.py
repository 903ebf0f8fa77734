"""Numbers drawn from a recorded history, which verdicts rest on. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from chaos.model import ATTACKS, Attempt, History, Sample
from load.histograms import percentile

__all__ = [
    "SILENT_SECONDS",
    "Silence",
    "Window",
    "added_errors",
    "lateness",
    "lost",
    "most_in_flight",
    "safety",
    "silences",
    "span",
    "standstill",
    "steady",
    "timed",
    "window",
]

SILENT_SECONDS = 1.0
"""Beyond the p99 before the fault: for how long none of the requests that are due is served where traffic stands still.
On a small machine each process on the way may do so for some tenths of a second."""


@dataclass(frozen=True)
class Window:
    """The requests intended within a span of time. Milliseconds; None where there is no data."""

    seconds: float
    requests: int
    errors: int
    p50: float | None
    p99: float | None

    @property
    def success(self) -> float | None:
        """Share of good answers."""
        return (self.requests - self.errors) / self.requests if self.requests else None


def standstill(pulse: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """For how many seconds of [start, end] the load driver's own clock was late."""
    return sum(max(0.0, min(end, at + late) - max(start, at)) for at, late in pulse)


def lost(history: History, sample: Sample) -> bool:
    """Whether a request was not served, or later than its client's patience lasts from when it was due.

    Counted so, what had to wait behind those that hang is lost like them; what a late driver kept waiting is not.
    """
    if not sample.good:
        return True
    excess = sample.latency - history.timeout
    return excess >= 0 and excess >= standstill(history.pulse, sample.intended, sample.end)


def timed(history: History, sample: Sample) -> bool:
    """Whether it counts how long a request took: what is refused at once is no faster for it."""
    return sample.good or history.cuts


def window(
    samples: Sequence[Sample],
    start: float,
    end: float,
    lost: Callable[[Sample], bool] = lambda sample: not sample.good,
    timed: Callable[[Sample], bool] = lambda _: True,
) -> Window:
    """Sum up the requests meant to leave in [start, end); percentiles are of those that are `timed`."""
    mine = [s for s in samples if start <= s.intended < end]
    took = sorted(s.latency * 1000 for s in mine if timed(s))
    return Window(
        seconds=max(0.0, end - start),
        requests=len(mine),
        errors=sum(map(lost, mine)),
        p50=percentile(took, 50) if took else None,
        p99=percentile(took, 99) if took else None,
    )


def span(history: History, start: float, end: float) -> Window:
    """Sum up the same of a history, with what came too late for its client among the errors."""
    return window(history.samples, start, end, partial(lost, history), partial(timed, history))


def before(history: History) -> Window:
    """From the start to the injection."""
    return span(history, history.marks.started, history.marks.injected)


def during(history: History) -> Window:
    """From the injection to the undo, however long the fault lasts."""
    return span(history, history.marks.injected, history.marks.undone)


def disturbed(history: History) -> Window:
    """From the injection to the end: a fault may do its harm while it is taken back."""
    return span(history, history.marks.injected, history.marks.ended)


def added_errors(history: History) -> int:
    """Errors from the injection to the end."""
    return disturbed(history).errors


def lateness(history: History) -> float | None:
    """Seconds by which the load driver's own clock was late, p90 from the start to the end; None without data.

    Large when the machine has no time left for anybody, so that nothing can be blamed on the mesh.
    """
    late = sorted(late for at, late in history.pulse if history.marks.started <= at <= history.marks.ended)
    return percentile(late, 90) if late else None


@dataclass(frozen=True)
class Silence:
    """A stretch in which requests were due and none was served, for longer than traffic may stand still."""

    start: float
    """When the first of them was due, epoch seconds."""
    end: float
    stood: float
    """Seconds of it for which the load driver's own clock stood still."""
    meshs: bool
    """Whether it is too long without these seconds too. Where it is not, it says nothing of the mesh."""

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.start


def silences(history: History) -> tuple[Silence, ...]:
    """Every one from the injection to the end.

    Requests that wait for their turn behind those that hang leave no error, and in the end they may all be served.
    """
    injected, ended = history.marks.injected, history.marks.ended
    longest = SILENT_SECONDS + (before(history).p99 or 0.0) / 1000
    due = sorted(s.intended for s in history.samples if injected <= s.intended < ended)
    found, last = [], injected
    for served in (*sorted(s.end for s in history.samples if s.good and injected < s.end < ended), ended):
        following = bisect_left(due, last)
        first = due[following] if following < len(due) else served
        if served - first > longest:
            stood = standstill(history.pulse, first, served)
            found.append(Silence(first, served, stood, served - first - stood > longest))
        last = served
    return tuple(found)


def most_in_flight(samples: Sequence[Sample], start: float, end: float) -> int:
    """The largest number of requests under way at one time, among those alive within [start, end]."""
    edges = sorted(edge for s in samples if s.start <= end and s.end >= start for edge in ((s.start, 1), (s.end, -1)))
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def steady(samples: Sequence[Sample], now: float, span: float, rate: float) -> bool:
    """Whether the last `span` seconds were served in full: no error, and at least four fifths of the offered rate."""
    last = [s for s in samples if s.end >= now - span]
    return len(last) >= 0.8 * span * rate and all(s.good for s in last)


@dataclass(frozen=True)
class Safety:
    """What became of the clients without rights."""

    through: int
    """Served although they must not be."""
    refusals: Mapping[str, int]
    """Refused while the fault was on, by attack; connections that never came about, or fell silent, do not count."""
    first: str
    """The first breach in words."""


def safety(attempts: Sequence[Attempt], start: float, end: float) -> Safety:
    """Breaches over all attempts; refusals within [start, end]."""
    refusals: dict[str, int] = dict.fromkeys(ATTACKS, 0)
    for attempt in attempts:
        if attempt.refused and start <= attempt.at <= end:
            refusals[attempt.attack] = refusals.get(attempt.attack, 0) + 1
    breaches = [attempt for attempt in attempts if attempt.through]
    first = f"{breaches[0].attack}: {breaches[0].detail}" if breaches else ""
    return Safety(len(breaches), refusals, first)
