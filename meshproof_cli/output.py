"""Rows as a table for people, or as JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import typer

from reports.words import line

__all__ = ["Output", "show"]


class Output(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def show(rows: Sequence[Mapping[str, Any]], output: Output) -> None:
    """Print `rows`, all with the same fields, on stdout."""
    if output is Output.JSON:
        typer.echo(json.dumps(list(rows), indent=2, ensure_ascii=False))
    elif output is Output.YAML:
        import yaml

        typer.echo(yaml.safe_dump([dict(row) for row in rows], sort_keys=False, allow_unicode=True).rstrip())
    else:
        _table(rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = list(rows[0]) if rows else []
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(len(row[index]) for row in [columns, *cells]) for index in range(len(columns))]
        for row in [columns, *cells]:
            typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, style="bold" if index == 0 else "", no_wrap=index == 0)
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    Console(highlight=False).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return line(str(value))
