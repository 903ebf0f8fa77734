"""`meshproof replay`: the verdicts of a run again, from its bundles and without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

    Exit code 0 where every verdict is the recorded one, 1 where one is another.
    """
    from conformance.replay import replay as judge

    again = judge(bundle)
    rows = [
        {
            "id": one.id,
            "recorded": one.recorded.value,
            "now": one.now.verdict.value,
            "same": "yes" if one.same else "no",
            "reason": one.now.reason,
        }
        for one in again
    ]
    show(rows, output)
    raise typer.Exit(int(ExitCode.CONFORMANT if all(one.same for one in again) else ExitCode.NOT_CONFORMANT))
