"""What the commands share: the app, options of the same name everywhere, and how a result is written."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml

from refmesh.install import installer
from refmesh.kubeclient import Kube
from refmesh.terminal import has_terminal

__all__ = [
    "PROGRAM", "Context", "Form", "Kubeconfig", "Output", "Templates", "Yes", "app", "confirm", "dump",
    "dump_objects", "pod_named", "run", "say", "show",
]  # fmt: skip

T = TypeVar("T")


class Output(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


PROGRAM = os.environ.get("REFMESH_PROGRAM") or "refmesh"
"""What the user typed to get here. A program that starts us under a name of its own completes that itself."""

app = typer.Typer(
    name="refmesh",
    help="A small, complete service mesh: install it, look after it, learn from it.",
    no_args_is_help=True,
    add_completion=PROGRAM == "refmesh",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file; KUBECONFIG otherwise.")]
Context = Annotated[str | None, typer.Option("--context", help="Context in the kubeconfig; the current one otherwise.")]
Form = Annotated[Output, typer.Option("--output", "-o", help="table, json or yaml.")]
Templates = Annotated[Path | None, typer.Option("--injector-templates", help="YAML file of the injector's templates.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", "--skip-confirmation", help="Do not ask.")]


def say(text: str) -> None:
    """Progress goes to standard error, results to standard output."""
    typer.echo(text, err=True)


def run(kubeconfig: Path | None, context: str | None, work: Callable[[Kube], Awaitable[T]]) -> T:
    """What a piece of work on the cluster comes to; an interrupt ends it with exit code 130."""

    async def body() -> T:
        kube = Kube.from_kubeconfig(kubeconfig, context)
        try:
            await installer.reachable(kube)
            return await work(kube)
        finally:
            await kube.close()

    try:
        return asyncio.run(body())
    except KeyboardInterrupt:
        say("Interrupted. Run the same command again to complete it.")
        raise typer.Exit(code=130) from None


def show(rows: list[dict[str, Any]], form: Output) -> None:
    """Write rows of equal keys as a table, JSON or YAML."""
    if form is not Output.TABLE:
        dump(rows, form)
    elif not rows:
        say("There is nothing to show.")
    else:
        heads = list(rows[0])
        widths = [max(len(head), *(len(str(row[head])) for row in rows)) for head in heads]
        for line in [heads, *([str(row[head]) for head in heads] for row in rows)]:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def confirm(question: str, yes: bool) -> None:
    """Ask a person; a script that calls this command has decided already."""
    if not yes and has_terminal() and not typer.confirm(question):
        raise typer.Exit(code=1)


def dump(value: Any, form: Output) -> None:
    """Write what is no table, as JSON unless YAML is asked for."""
    if form is Output.YAML:
        typer.echo(yaml.safe_dump(value, sort_keys=False), nl=False)
    else:
        typer.echo(json.dumps(value, indent=2))


def dump_objects(objects: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Write Kubernetes objects as `kubectl apply` takes them: one List in JSON, or documents of YAML."""
    if as_json:
        typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        typer.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)


def pod_named(said: str, namespace: str) -> tuple[str, str]:
    """Name and namespace of a pod given as POD or POD.NAMESPACE."""
    name, dot, rest = said.partition(".")
    return name, rest if dot else namespace
