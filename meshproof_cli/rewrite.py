"""`meshproof report`: the report of an earlier run again, in any format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reports.errors import UsageProblem
from reports.writers import FORMATS, write

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="The results.json of a run.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("-f", "--format", help=f"{', '.join(FORMATS)} or table; may be given more than once."),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("-d", "--directory", help="Where to write; default: beside the results.")
    ] = None,
) -> None:
    """Write the report of an earlier run again."""
    from reports.data_files import read_results

    wanted = formats or ["html"]
    for name in wanted:
        if name not in (*FORMATS, "table"):
            raise UsageProblem(f"there is no report format {name!r}", fix=f"choose from {', '.join(FORMATS)}, table")
    run = read_results(results)
    target = directory or results.absolute().parent
    if "table" in wanted:
        from reports.table import print_table

        print_table(run)
    for path in write(run, target, [name for name in wanted if name != "table"]).values():
        typer.echo(path)
