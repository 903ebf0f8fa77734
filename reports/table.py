"""The verdict table in the terminal: rich on a terminal, aligned plain text without one; `NO_COLOR` is honoured."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from reports.model import Verdict
from reports.words import SYMBOLS, clean, duration, headline, line, shown

if TYPE_CHECKING:
    from typing import TextIO

    from reports.model import Result, Run

__all__ = ["STYLES", "plain_table", "print_table", "rich_table"]

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.UNSUPPORTED: "dim",
    Verdict.NOT_RUN: "dim",
}
_CONCLUSIONS = {
    "conformant": "bold green",
    "not conformant": "bold red",
    "not proven": "bold yellow",
    "measured": "bold",
}


def print_table(run: Run, file: TextIO | None = None) -> None:
    """Print the verdicts: on stdout, or to `file`."""
    console = Console(file=file, highlight=False)
    if console.is_terminal:
        console.print(rich_table(run))
    else:
        console.file.write(plain_table(run, shutil.get_terminal_size((120, 24)).columns))
        console.file.flush()


def rich_table(run: Run) -> Group:
    """The verdicts as a renderable; a reason only where one is needed."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("id", no_wrap=True, style="bold")
    table.add_column("title", ratio=1)
    table.add_column("time", justify="right", no_wrap=True, style="dim")
    for result in run.results:
        title = Text(clean(result.title))
        if _needs_reason(result):
            title.append(f"\n{clean(result.reason)}", style="dim")
        style = "green" if result.right else STYLES[result.verdict]
        verdict = Text(f"{SYMBOLS[result.verdict]} {shown(result)}", style=style)
        table.add_row(verdict, Text(clean(result.id)), title, duration(result.seconds))
    conclusion = Text(f"{clean(run.mesh)}: {run.conclusion}", style=_CONCLUSIONS[run.conclusion])
    return Group(table, Text(""), conclusion + Text(f"  {headline(run)}", style="default"))


def plain_table(run: Run, width: int = 120) -> str:
    """The verdicts as plain text, one line a result and one more for a reason that matters."""
    rows = [(shown(one), line(one.id), line(one.title), duration(one.seconds)) for one in run.results]
    first = max((len(row[0]) for row in rows), default=0)
    second = max((len(row[1]) for row in rows), default=0)
    room = max(width - first - second - 14, 20)
    lines = []
    for row, result in zip(rows, run.results, strict=True):
        title = row[2] if len(row[2]) <= room else row[2][: room - 1] + "…"
        lines.append(f"{row[0]:<{first}}  {row[1]:<{second}}  {title:<{room}}  {row[3]:>8}".rstrip())
        if _needs_reason(result):
            lines.append(f"{'':<{first}}  {'':<{second}}  {line(result.reason)}")
    lines += ["", line(f"{run.mesh}: {run.conclusion}. {headline(run)}")]
    return "\n".join(lines) + "\n"


def _needs_reason(result: Result) -> bool:
    return bool(result.reason) and (result.verdict is not Verdict.PASS or not result.right)
