"""`meshproof compare A B`: what got better or worse from one run to another, and what is noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from meshproof_cli.output import Output, show

__all__ = ["app"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="The earlier results.json, or its report directory.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later one.")],
    everything: Annotated[bool, typer.Option("--all", help="Also list what stayed the same.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
) -> None:
    """Say what got better or worse from one run to another, and what is noise.

    Exit code 0 where nothing got worse, 1 where something did, 4 where nothing did but a proof was lost.
    """
    from reports.comparison import Direction
    from reports.comparison import compare as compared
    from reports.data_files import RESULTS, read_results
    from reports.words import line

    found = compared(*(read_results(path / RESULTS if path.is_dir() else path) for path in (before, after)))
    if output is Output.JSON:
        typer.echo(json.dumps(found.json(), indent=2, ensure_ascii=False))
    elif output is Output.YAML:
        import yaml

        typer.echo(yaml.safe_dump(found.json(), sort_keys=False, allow_unicode=True).rstrip())
    else:
        order = list(Direction)
        changes = sorted(
            (one for one in found.changes if everything or one.direction is not Direction.SAME),
            key=lambda one: order.index(one.direction),
        )
        rows = [
            {"": one.direction.value, "id": one.id, "figure": one.figure or "verdict", "A": one.before or "–",
             "B": one.after or "–", "note": one.note}
            for one in changes
        ]  # fmt: skip
        if rows:
            show(rows, output)
            typer.echo("")
        typer.echo(line(found.sentence))
        for name, (old, new) in found.differences.items():
            typer.echo(line(f"The runs differ in {name}: {old or '–'} → {new or '–'}"))
    raise typer.Exit(int(found.exit_code))
