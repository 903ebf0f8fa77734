"""What pytest shows of a run at its end: the table of verdicts, what took how long, and where the report is."""

from __future__ import annotations

from pathlib import Path

from reports.model import Run, Verdict

__all__ = ["summary"]


def summary(run: Run, where: Path) -> list[str]:
    """As lines; `where` is the report."""
    lines = [f"{one.id:8} {one.verdict:12} {one.seconds:5.1f} s  {one.title}: {one.reason}" for one in run.results]
    counts = ", ".join(f"{run.count(verdict)} {verdict}" for verdict in Verdict if run.count(verdict))
    stages = [f"{one.name}: {one.seconds:.1f} s {one.detail} {one.problem}".rstrip() for one in run.stages]
    return ["", *lines, "", *stages, f"{run.mesh}: {counts}; {where}"]
