"""`meshproof replay`: the verdicts of a run again, from its bundles and without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meshproof_cli.output import Output, show
from reports.errors import ExitCode

__all__ = ["app"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def replay(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a report directory with bundles.")],
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
) -> None:
    """Judge recorded histories again, without a cluster.

    A check that ended before it had one, at its gate say, is named as such, with what was last seen there.

    Exit code 0 where every verdict is the recorded one, 1 where one is another.
    """
    from conformance.probes import table
    from conformance.replay import replay as judge
    from conformance.trouble import LAST_SEEN

    again = judge(bundle)
    rows: list[dict[str, Any]] = [
        {
            "id": one.id,
            "recorded": one.recorded.value,
            "now": one.now.verdict.value,
            "same": "yes" if one.same else "no",
            "judged from": one.trouble.ended if one.trouble else "history",
            "reason": one.now.reason,
        }
        for one in again
    ]
    seen = [table(one.trouble.seen) if one.trouble else [] for one in again]
    if output is not Output.TABLE:
        rows = [{**row, "last seen": last} for row, last in zip(rows, seen, strict=True)]
    show(rows, output)
    if output is Output.TABLE:
        for one, last in zip(again, seen, strict=True):
            if last:
                typer.echo(f"\n{one.id}: {LAST_SEEN}")
                show(last, output)
    raise typer.Exit(int(ExitCode.CONFORMANT if all(one.same for one in again) else ExitCode.NOT_CONFORMANT))
