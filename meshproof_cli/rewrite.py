"""`meshproof report`: the report of an earlier run again, in any format."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshproof_cli import completion
from reports.choice import choose
from reports.errors import UsageProblem
from reports.files import claim_directory
from reports.writers import FORMATS, write

if TYPE_CHECKING:
    from reports.model import Run

__all__ = ["app"]

app = typer.Typer(add_completion=False)

OTHERS = ("gateway-api", "table")
"""Formats that are written only when they are asked for."""


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="The results.json of a run, or its report directory.")],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--format",
            help=f"{', '.join((*FORMATS, *OTHERS))}; may be given more than once.",
            autocompletion=completion.formats,
        ),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("-d", "--directory", help="Where to write; default: beside the results.")
    ] = None,
    organization: Annotated[str, typer.Option(help="gateway-api: who maintains the mesh.")] = "",
    project: Annotated[str, typer.Option(help="gateway-api: the mesh's name.")] = "",
    url: Annotated[str, typer.Option(help="gateway-api: the mesh's page.")] = "",
    mesh_version: Annotated[str, typer.Option(help="gateway-api: the version judged; default: as found.")] = "",
    contact: Annotated[
        list[str] | None, typer.Option(help="gateway-api: @name, @team/name, mail or URL; may be given more than once.")
    ] = None,
    mode: Annotated[str, typer.Option(help="gateway-api: the mesh's operating mode.")] = "default",
) -> None:
    """Write the report of an earlier run again.

    Inside a GitHub job, github is also the step's summary, and an annotation for each verdict that is not a pass.
    The format gateway-api is the Gateway API's own ConformanceReport, of a run with --mesh gateway-api.
    """
    from reports.data_files import RESULTS, read_results
    from reports.gateway_api import Implementation, conformance_report, version_found, write_conformance_report

    wanted = formats or ["html"]
    for name in wanted:
        choose(name, (*FORMATS, *OTHERS), "report format")
    if results.is_dir():
        results /= RESULTS
    run = read_results(results)
    maker = Implementation(organization, project, url, mesh_version or version_found(run), tuple(contact or ()))
    if "gateway-api" in wanted:
        conformance_report(run, maker, mode)  # what is refused must not leave a directory behind
    target = results.absolute().parent
    if directory is not None and directory.resolve() != target.resolve():
        target = claim_directory(directory, "--directory")
    if set(wanted) != {"table"}:
        _spare_another(run, target)
    if "table" in wanted:
        from reports.table import print_table

        print_table(run)
    if "gateway-api" in wanted:
        typer.echo(write_conformance_report(run, target, maker, mode))
    for path in write(run, target, [name for name in wanted if name not in OTHERS]).values():
        typer.echo(path)
    if "github" in wanted:
        from reports.github import publish

        for line in publish(run):
            typer.echo(line)


def _spare_another(run: Run, target: Path) -> None:
    """Raise `UsageProblem` where a directory is the report of another run: its pages would be this one's, or lost."""
    from reports.data_files import RESULTS, read_results

    there = target / RESULTS
    with suppress(UsageProblem):  # what cannot be read is not this run's
        if not there.exists() or read_results(there) == run:
            return
    raise UsageProblem(f"{target} holds the report of another run", fix="name another place with --directory")
