"""`meshproof replay`: the verdicts of a run again, from its bundles and without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshproof_cli.output import Output, show
from reports.errors import ExitCode

if TYPE_CHECKING:
    from conformance.replay import Replayed, Unread

__all__ = ["app"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def replay(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a report directory with bundles.")],
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
) -> None:
    """Judge recorded histories again, without a cluster.

    A check that ended before it had one, at its gate say, is named as such, with what was last seen there.

    Exit code 0 where every verdict is the recorded one, 1 where one is another; else 2 where a bundle cannot be judged.
    """
    from conformance import replay as recorded
    from conformance.probes import table
    from conformance.trouble import LAST_SEEN

    again = recorded.replay(bundle)
    judged = [one for one in again if isinstance(one, recorded.Replayed)]
    rows = [_row(one) if isinstance(one, recorded.Replayed) else _unread(one) for one in again]
    seen = [table(one.trouble.seen) if isinstance(one, recorded.Replayed) and one.trouble else [] for one in again]
    if output is not Output.TABLE:
        rows = [{**row, "last seen": last} for row, last in zip(rows, seen, strict=True)]
    show(rows, output)
    if output is Output.TABLE:
        for one, last in zip(again, seen, strict=True):
            if last:
                typer.echo(f"\n{one.id}: {LAST_SEEN}")
                show(last, output)
    if not all(one.same for one in judged):
        raise typer.Exit(int(ExitCode.NOT_CONFORMANT))
    raise typer.Exit(int(ExitCode.CONFORMANT if len(judged) == len(again) else ExitCode.USAGE))


def _row(one: Replayed) -> dict[str, Any]:
    return {
        "id": one.id,
        "recorded": one.recorded.value,
        "now": one.now.verdict.value,
        "same": "yes" if one.same else "no",
        "judged from": one.trouble.ended if one.trouble else "history",
        "reason": one.now.reason,
    }


def _unread(one: Unread) -> dict[str, Any]:
    return {
        "id": one.id, "recorded": "", "now": "not judged", "same": "no", "judged from": "nothing", "reason": one.reason,
    }  # fmt: skip
