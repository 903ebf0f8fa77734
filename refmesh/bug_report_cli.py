"""`refmesh bug-report`: an archive for somebody who was not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from refmesh.errors import UsageProblem
from refmesh.install import bug_report

__all__ = ["mount"]

Run = Callable[[Path | None, str | None, Callable[[Any], Awaitable[Any]]], Any]


def mount(app: typer.Typer, run: Run) -> None:
    """Add the command. `run` opens the cluster for a piece of work and closes it."""

    @app.command("bug-report")
    def collect(
        output: Annotated[Path, typer.Option("--output", "-o", help="The archive.")] = Path(
            "refmesh-bug-report.tar.gz"
        ),
        namespaces: Annotated[
            list[str] | None, typer.Option("--namespace", "-n", help="Proxies of this namespace only; may be repeated.")
        ] = None,
        proxies: Annotated[int, typer.Option(help="The most proxies to look into; unready ones first.", min=0)] = 25,
        kubeconfig: Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file.")] = None,
        context: Annotated[str | None, typer.Option("--context", help="Context in the kubeconfig.")] = None,
    ) -> None:
        """Gather configuration, proxies' configuration, logs and versions in one archive, without secrets."""
        if output.is_dir() or not output.parent.is_dir():
            raise UsageProblem(
                f"{output} is no file that can be written.", fix="Give --output FILE in a folder there is."
            )

        def tell(text: str) -> None:
            typer.echo(f"  ✔ {text}", err=True)

        report = run(kubeconfig, context, lambda kube: bug_report.collect(kube, tuple(namespaces or ()), proxies, tell))
        try:
            bug_report.write(report, output)
        except OSError as error:
            raise UsageProblem(f"{output} cannot be written: {error.strerror}.") from error
        for path, why in report.missing.items():
            typer.echo(f"  – {path}: {why}", err=True)
        typer.echo(str(output))
