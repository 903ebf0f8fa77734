"""`refmesh ca`: look at the certificate authority, and rotate its root or issuer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from refmesh.install import authority

__all__ = ["mount"]

Run = Callable[[Path | None, str | None, Callable[[Any], Awaitable[Any]]], Any]


class Kind(StrEnum):
    """What is replaced."""

    ROOT = "root"
    ISSUER = "issuer"


class Form(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file; KUBECONFIG otherwise.")]
Context = Annotated[str | None, typer.Option("--context", help="Context in the kubeconfig; the current one otherwise.")]
Output = Annotated[Form, typer.Option("--output", "-o", help="table, json or yaml.")]


def mount(app: typer.Typer, run: Run) -> None:
    """Add the commands. `run` opens the cluster for a piece of work and closes it."""
    ca = typer.Typer(help="The certificate authority: status and rotation.", no_args_is_help=True)
    app.add_typer(ca, name="ca")

    @ca.command("status")
    def status(output: Output = Form.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
        """Show roots, issuer, their ends, the phase of a rotation, workloads by issuer and the outage budget."""
        _print(run(kubeconfig, context, authority.summary), output)

    @ca.command("rotate")
    def rotate(
        kind: Annotated[Kind, typer.Argument(help="root (with a new issuer below it), or issuer.")],
        timeout: Annotated[
            float, typer.Option(help="Seconds to wait; the rotation goes on all the same.", min=1.0)
        ] = 300.0,
        output: Output = Form.TABLE,
        kubeconfig: Kubeconfig = None,
        context: Context = None,
    ) -> None:
        """Replace the root or the issuer without an error: wait until every workload has followed, and verify it."""

        def work(kube: Any) -> Awaitable[Any]:
            return authority.rotate(kube, kind.value, timeout, lambda line: typer.echo(f"  {line}", err=True))

        found = run(kubeconfig, context, work)
        typer.echo(f"The {kind.value} is replaced; every workload has followed.", err=True)
        _print(found, output)


def _print(found: dict[str, Any], form: Form) -> None:
    if form is Form.JSON:
        typer.echo(json.dumps(found, indent=2))
    elif form is Form.YAML:
        typer.echo(yaml.safe_dump(found, sort_keys=False), nl=False)
    else:
        lines = authority.rows(found, datetime.now(UTC))
        width = max(len(line["what"]) for line in lines)
        for line in lines:
            typer.echo(f"{line['what'].ljust(width)}  {line['is']}")
