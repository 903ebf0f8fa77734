"""What a report shows of a recorded history beside its verdict: figures by phase, and a plot. Pure."""

from __future__ import annotations

from itertools import pairwise

from chaos.measures import Window, added_errors, disturbed, lateness, lost, safety, silences, span
from chaos.model import History, Sample
from load.histograms import percentile
from reports.model import JSON

__all__ = ["PHASES", "metrics", "phases", "timeline"]

PHASES = ("before", "during", "recovering", "after")
"""By these names, at the end of theirs, figures belong together."""


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
    """The data of a timeline plot: percentiles, throughput and errors by `bucket` seconds, the fault shaded."""
    marks = history.marks
    buckets: dict[int, list[Sample]] = {}
    for sample in history.samples:
        buckets.setdefault(int((sample.intended - marks.started) // bucket), []).append(sample)
    series: dict[tuple[str, str], list[JSON]] = {
        ("p50", "ms"): [],
        ("p99", "ms"): [],
        ("throughput", "1/s"): [],
        ("errors", "1/s"): [],
    }
    for index, mine in sorted(buckets.items()):
        at = round((index + 0.5) * bucket, 3)
        took = sorted(s.latency * 1000 for s in mine)
        good = sum(s.good for s in mine)
        series["p50", "ms"].append([at, percentile(took, 50)])
        series["p99", "ms"].append([at, percentile(took, 99)])
        series["throughput", "1/s"].append([at, good / bucket])
        series["errors", "1/s"].append([at, (len(mine) - good) / bucket])
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
