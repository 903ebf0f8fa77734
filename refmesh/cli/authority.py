"""`refmesh ca`: look at the certificate authority, and rotate its root or issuer."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from refmesh.cli.common import Context, Form, Kubeconfig, Output, app, dump, run, say
from refmesh.install import authority

__all__: list[str] = []


class Kind(StrEnum):
    """What is replaced."""

    ROOT = "root"
    ISSUER = "issuer"


ca = typer.Typer(help="The certificate authority: status and rotation.", no_args_is_help=True)
app.add_typer(ca, name="ca")


@ca.command("status")
def status(output: Form = Output.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Show roots, issuer, their ends, the phase of a rotation, workloads by issuer and the outage budget."""
    _print(run(kubeconfig, context, authority.summary), output)


@ca.command("rotate")
def rotate(
    kind: Annotated[Kind, typer.Argument(help="root (with a new issuer below it), or issuer.")],
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait; the rotation goes on all the same.", min=1.0)
    ] = 300.0,
    output: Form = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Replace the root or the issuer without an error: wait until every workload has followed, and verify it."""

    def work(kube: Any) -> Awaitable[Any]:
        return authority.rotate(kube, kind.value, timeout, lambda line: say(f"  {line}"))

    found = run(kubeconfig, context, work)
    say(f"The {kind.value} is replaced; every workload has followed.")
    _print(found, output)


def _print(found: dict[str, Any], form: Output) -> None:
    if form is not Output.TABLE:
        dump(found, form)
    else:
        lines = authority.rows(found, datetime.now(UTC))
        width = max(len(line["what"]) for line in lines)
        for line in lines:
            typer.echo(f"{line['what'].ljust(width)}  {line['is']}")
