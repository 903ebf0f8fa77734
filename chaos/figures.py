"""What a report shows of a recorded history beside its verdict: figures by phase, and a plot. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from chaos.measures import Window, added_errors, disturbed, lateness, lost, safety, silences, span, timed
from chaos.model import History
from load.histograms import percentile
from reports.model import JSON, PHASES

__all__ = ["metrics", "phases", "timeline"]


def phases(history: History) -> dict[str, Window]:
    """The requests before the fault, during it, from its undo to the recovery, and after that; phases that there were.

    Without a recovery there is nothing after it. A fault that nobody takes back, such as the death of a pod, lasts
    until the recovery.
    """
    spans = zip(PHASES, pairwise(_edges(history)), strict=True)
    return {name: span(history, start, end) for name, (start, end) in spans if end > start}


def _edges(history: History) -> tuple[float, ...]:
    """Where the phases begin and end, epoch seconds."""
    marks = history.marks
    recovered = marks.ended if marks.recovered is None else marks.recovered
    return marks.started, marks.injected, marks.undone if history.lasting else recovered, recovered, marks.ended


def metrics(history: History) -> dict[str, float]:
    """The figures every verdict carries; a figure without data is left out."""
    marks = history.marks
    late = lateness(history)
    found: dict[str, float | None] = {
        "machine_late_ms": None if late is None else late * 1000,
        "success_from_fault_on": disturbed(history).success,
        "added_errors": added_errors(history),
        "unauthorised_successes": safety(history.attempts, marks.injected, marks.undone).through,
        "seconds_to_land": None if marks.landed is None else marks.landed - marks.injected,
        "seconds_to_steady_traffic": _steadied(history),
        "seconds_to_recover": None if marks.recovered is None else marks.recovered - history.over,
        "retry_amplification": (
            history.arrivals / history.sent if history.arrivals is not None and history.sent else None
        ),
    }
    for name, one in phases(history).items():
        found |= {f"success_{name}": one.success, f"p50_ms_{name}": one.p50, f"p99_ms_{name}": one.p99}
        found[f"requests_{name}"] = one.requests
    return {name: float(value) for name, value in found.items() if value is not None}


def timeline(history: History, bucket: float = 0.5) -> JSON:
    """The data of a timeline plot: percentiles, throughput and errors by some `bucket` seconds, the fault shaded.

    Percentiles are of what was due then, and was `timed`. Answers and errors count when they came, for where all has to
    wait and is served in the end nothing else shows it; errors are drawn beyond the end where they came later.
    """
    marks = history.marks
    # Whole buckets from the first request to the end: what is cut off on either side looks like a loss.
    first = max(marks.started, min((s.intended for s in history.samples), default=marks.started))
    count = max(1, round((marks.ended - first) / bucket))
    width = max(marks.ended - first, bucket) / count
    due: dict[int, list[float]] = {}
    served: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for sample in history.samples:
        if timed(history, sample):
            due.setdefault(int((sample.intended - first) // width), []).append(sample.latency * 1000)
        (served if sample.good else failed)[int((sample.end - first) // width)] += 1
    for latencies in due.values():
        latencies.sort()

    def points(value: Callable[[int], float | None], until: int = count) -> list[JSON]:
        buckets = range(until if history.samples else 0)
        return [[round(first - marks.started + (index + 0.5) * width, 3), value(index)] for index in buckets]

    def took(share: float) -> list[JSON]:
        return points(lambda index: percentile(due[index], share) if index in due else None)

    series: dict[tuple[str, str], list[JSON]] = {
        ("p50", "ms"): took(50),
        ("p99", "ms"): took(99),
        ("throughput", "1/s"): points(lambda index: served[index] / width),
        ("errors", "1/s"): points(
            lambda index: failed[index] / width, until=max((count, *(one + 1 for one in failed)))
        ),
    }
    undone = marks.undone if history.lasting else None
    at_marks = {"landed": marks.landed, "undone": undone, "steady again": marks.recovered}
    _, start, end, *_ = _edges(history)
    breaches: list[JSON] = [
        {"name": f"unauthorised: {a.attack}", "t": a.at - marks.started} for a in history.attempts if a.through
    ]
    return {
        "series": [{"name": name, "unit": unit, "points": points} for (name, unit), points in series.items()],
        "windows": [{"name": "fault", "start": start - marks.started, "end": end - marks.started}],
        "marks": [{"name": n, "t": t - marks.started} for n, t in at_marks.items() if t is not None] + breaches[:5],
    }


def _steadied(history: History) -> float | None:
    """Seconds from when the fault was over to the last request that was due and lost, or the end of the last silence.

    None where traffic was not steady again. Whatever else must hold, such as that a new pod is there, has its own time.
    """
    marks = history.marks
    if marks.steady is None and marks.recovered is None:
        return None
    since = (s.intended for s in history.samples if s.intended >= history.over and lost(history, s))
    return max((0.0, *(at - history.over for at in (*since, *(one.end for one in silences(history) if one.meshs)))))
