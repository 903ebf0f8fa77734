"""GitHub Actions: a step summary in Markdown and one annotation per result that went wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from reports.console import say
from reports.errors import EnvironmentProblem
from reports.files import one_sentence, write_text
from reports.words import SYMBOLS, clean, duration, headline, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reports.errors import MeshproofError
    from reports.model import Result, Run

__all__ = ["commands", "complaint", "publish", "summary_markdown", "write_summary"]

_LIMIT = 900_000  # GitHub refuses a step summary above 1 MiB
_SHOWN = 10  # annotations of one level that GitHub shows of a step; it drops the others without a word


def summary_markdown(run: Run, room: int = _LIMIT) -> str:
    """The run as Markdown for a step summary, in some `room` bytes: what does not fit is counted, or left out."""
    by = f"meshproof {_cell(run.product_version)}"
    lines = [
        f"## {_cell(run.mesh)} {_cell(run.mesh_version)}: {run.conclusion}",
        "",
        f"{_cell(headline(run))} Cluster {_cell(run.cluster)}, {duration(run.seconds)}, {by}.",
        "",
        "| verdict | id | title | reason | time |",
        "|---|---|---|---|---:|",
    ]
    ordered = sorted(run.results, key=lambda result: (not result.failed, not result.unproven))
    used = 0
    for position, result in enumerate(ordered):
        row = (
            f"| {SYMBOLS[result.verdict]} {_cell(shown(result))} | {_cell(result.id)} | {_cell(result.title)} "
            f"| {_cell(result.reason, 300)} | {duration(result.seconds)} |"
        )
        used += len(row.encode())
        if used > room // 2:
            lines.append(f"| | | … {len(ordered) - position} more in results.json | | |")
            break
        lines.append(row)
    wrong = [result for result in ordered if (result.failed or result.unproven) and result.reproduce]
    if wrong:
        lines += ["", "<details><summary>Reproduce</summary>", ""]
        for one in wrong[:100]:
            line = f"<p>{_cell(one.id)}<br><code>{_cell(one.reproduce, 1000)}</code></p>"
            used += len(line.encode())
            if used > room:
                break
            lines.append(line)
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def commands(run: Run) -> list[str]:
    """Workflow commands: an error per failed result, a warning per unproven one; the last stands for those too many."""
    failed = [one for one in run.results if one.failed]
    unproven = [one for one in run.results if one.unproven]
    return [*_annotations("error", failed), *_annotations("warning", unproven)]


def _annotations(level: str, results: Sequence[Result]) -> Iterator[str]:
    told = len(results) if len(results) <= _SHOWN else _SHOWN - 1
    for result in results[:told]:
        title = _command(f"{result.id} {result.title}: {result.verdict.value}", in_property=True)
        yield f"::{level} title={title}::{_command(result.reason)}"
    if more := results[told:]:
        yield f"::{level} title={len(more)} more are in the summary::{_command(', '.join(one.id for one in more))}"


def write_summary(run: Run, directory: Path) -> Path:
    """Write `summary.md`."""
    path = directory / "summary.md"
    write_text(path, summary_markdown(run))
    return path


def publish(run: Run, environ: Mapping[str, str] | None = None) -> list[str]:
    """Inside a GitHub job: append the step summary, and give back the annotation lines to print on stdout.

    A summary that cannot be written, as where the job's container has a user of its own, is said, and costs no more
    than that: what was judged is judged.
    """
    environ = os.environ if environ is None else environ
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    target = environ.get("GITHUB_STEP_SUMMARY")
    if target:
        try:
            with one_sentence(Path(target)), Path(target).open("a", encoding="utf-8", errors="replace") as file:
                there = file.tell() if file.seekable() else 0
                file.write(summary_markdown(run, _LIMIT - there))
        except EnvironmentProblem as error:
            say(f"   this step has no summary: {error.problem}")
    return commands(run)


def complaint(error: MeshproofError, environ: Mapping[str, str] | None = None) -> list[str]:
    """Inside a GitHub job: the annotation for what kept a run from its beginning, of which there are no results."""
    environ = os.environ if environ is None else environ
    said = ": ".join(filter(None, (error.problem, error.fix)))
    return [f"::error title=Nothing was judged::{_command(said)}"] if environ.get("GITHUB_ACTIONS") == "true" else []


def _cell(text: str, limit: int = 200) -> str:
    """`text` as inert Markdown in one table cell."""
    line = " ".join(clean(text).split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    return re.sub(r"[\\`*_{}\[\]()#+!|~$@<>&\"']", lambda match: f"&#{ord(match[0])};", line)


def _command(text: str, *, in_property: bool = False) -> str:
    """`text` escaped for a workflow command, as the runner's own toolkit does."""
    escaped = clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return escaped.replace(":", "%3A").replace(",", "%2C") if in_property else escaped
