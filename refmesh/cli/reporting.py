"""`refmesh bug-report`: an archive for somebody who was not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refmesh.cli.common import Context, Kubeconfig, Output, app, run, say
from refmesh.errors import UsageProblem
from refmesh.install import bug_report

__all__: list[str] = []

_ARCHIVE = Path("refmesh-bug-report.tar.gz")


@app.command("bug-report")
def collect(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="The archive.", show_default=str(_ARCHIVE))] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The same as --file.")] = None,
    namespaces: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Proxies of this namespace only; may be repeated.")
    ] = None,
    proxies: Annotated[int, typer.Option(help="The most proxies to look into; unready ones first.", min=0)] = 25,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Gather configuration, proxies' configuration, logs and versions in one archive, without secrets."""
    archive = _archive(file, output)
    if archive.is_dir() or not archive.parent.is_dir():
        raise UsageProblem(f"{archive} is no file that can be written.", fix="Give --file FILE in a folder there is.")

    def tell(text: str) -> None:
        say(f"  ✔ {text}")

    report = run(kubeconfig, context, lambda kube: bug_report.collect(kube, tuple(namespaces or ()), proxies, tell))
    try:
        bug_report.write(report, archive)
    except OSError as error:
        raise UsageProblem(f"{archive} cannot be written: {error.strerror}.") from error
    for path, why in report.missing.items():
        say(f"  – {path}: {why}")
    typer.echo(str(archive))


def _archive(file: Path | None, output: Path | None) -> Path:
    """The archive's file. Raises `UsageProblem` where two are given, or what is the form of a result elsewhere."""
    if output is not None and str(output) in set(Output):
        fix = f"Leave -o out, or name a file by --file; --file {output} where that is its name."
        raise UsageProblem(
            f"-o is the file of the archive here, and {output} is the form of a result elsewhere.", fix=fix
        )
    if file is not None and output is not None:
        raise UsageProblem("The archive has one file.", fix="Give --file or --output, not both.")
    return file or output or _ARCHIVE
