"""What pytest shows of a run at its end: the table of verdicts, what took how long, and where the report is."""

from __future__ import annotations

from pathlib import Path

from reports.model import Run, Verdict
from reports.words import line

__all__ = ["summary"]


def summary(run: Run, where: Path) -> list[str]:
    """As lines; `where` is the report."""
    lines = [
        f"{one.id:8} {one.verdict:12} {one.seconds:5.1f} s  {line(f'{one.title}: {one.reason}')}" for one in run.results
    ]
    counts = ", ".join(f"{run.count(verdict)} {verdict}" for verdict in Verdict if run.count(verdict))
    stages = [line(f"{one.name}: {one.seconds:.1f} s {one.detail} {one.problem}") for one in run.stages]
    return ["", *lines, "", *stages, f"{run.mesh}: {counts}; {where}"]
