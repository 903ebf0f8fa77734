"""`meshproof load`: measurements of proxy latency."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from fixtures.kube import Kube
from load.blocks import QUANTILES
from load.comparison import MIN_PAIRS
from load.latency import measure
from load.meshing import Wanted, limited
from load.plan import Plan, expect_measurable
from reports.commands import command
from reports.console import step
from reports.errors import ExitCode, UsageProblem
from reports.model import Result, Verdict, result_to_json

__all__ = ["Output", "app", "use_meshes"]

app = typer.Typer(help="Measure what the proxies cost in latency.", no_args_is_help=True, add_completion=False)

Resolve = Callable[[str, Path | None, Sequence[str]], Wanted]
"""From a mesh's name and the user's settings to what they ask for."""

MOST_ROWS = 6
"""Rows of a table on the terminal."""

_resolve: list[Resolve] = []


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@app.callback()
def _group() -> None:
    """Keep `latency` a subcommand although it is the only one."""


def use_meshes(resolve: Resolve) -> None:
    """Tell the command line how a mesh's name becomes what it must know; the adapters belong to another room."""
    _resolve[:] = [resolve]


@app.command()
def latency(
    mesh: Annotated[str, typer.Option(help="Mesh whose proxies are measured.")] = "refmesh",
    pairs: Annotated[int, typer.Option(min=MIN_PAIRS, help="Pairs of blocks.")] = 20,
    rate: Annotated[float, typer.Option(min=1, help="Requests per second in every arm.")] = 200.0,
    block_seconds: Annotated[float, typer.Option(min=0.1, help="Length of a block.")] = 1.0,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="Connections that share the rate.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the order of the blocks and of the bootstrap.")] = 1,
    kubeconfig: Annotated[Path | None, typer.Option(help="Cluster to use; default as kubectl.")] = None,
    context: Annotated[str | None, typer.Option(help="Context in the kubeconfig.")] = None,
    image: Annotated[str | None, typer.Option(help="Image of the workloads; default: this product's own.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the mesh or of the run.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The same settings in a YAML file; --set wins.")] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="table, json or yaml.")] = Output.TABLE,
) -> None:
    """Compare latency without and with the mesh, in interleaved pairs of blocks."""
    if not _resolve:
        raise UsageProblem("no mesh is known here", fix="use `meshproof load latency`")
    wanted = _resolve[0](mesh, config, assignments or ())
    plan = replace(Plan(), pairs=pairs, rate=rate, block_seconds=block_seconds, users=connections, seed=seed)
    expect_measurable(plan)
    kube = wanted.dressed(Kube.connect(kubeconfig, context))
    used = image or wanted.image
    if not used:
        from fixtures.images import image_reference

        used = image_reference()
    again = {
        "--mesh": mesh,
        "--pairs": pairs,
        "--rate": f"{rate:g}",
        "--block-seconds": f"{block_seconds:g}",
        "--connections": connections,
        "--seed": seed,
        "--kubeconfig": kubeconfig and kubeconfig.resolve(),
        "--context": context,
        "--image": image,
        "--config": config and config.resolve(),
        "--set": assignments,
    }
    with step(f"latency of {mesh}") as shown:
        result = measure(kube, wanted.meshing, used, limited(plan, wanted.timeouts), shown.update)
    result = replace(result, reproduce=command(["meshproof", "load", "latency"], again))
    _print(result, output)
    if result.verdict is not Verdict.PASS:
        raise typer.Exit(int(ExitCode.NOT_PROVEN))


def _narrow(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that differ only in the percentile (`lag p50`, `lag p90`, …) made one, for narrow terminals."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        prefix, _, last = name.rpartition(" ")
        if prefix and last[:1] == "p" and last[1:].isdigit():
            told = f"{prefix} {'/'.join(f'p{q:.0f}' for q in QUANTILES)}"
            found[told] = f"{found[told]}/{value}" if told in found else str(value)
        else:
            found[name] = value
    return found


def _print(result: Result, output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(result_to_json(result), indent=2))
        return
    if output is Output.YAML:
        print(yaml.safe_dump(result_to_json(result), sort_keys=False, allow_unicode=True), end="")
        return
    console = Console()
    for evidence in result.evidence:
        if isinstance(evidence.data, list):
            rows = [_narrow(row) for row in evidence.data[:MOST_ROWS] if isinstance(row, dict)]
            table = Table(title=evidence.title, title_justify="left")
            for name in rows[0] if rows else ():
                table.add_column(name)
            for row in rows:
                table.add_row(*(str(value) for value in row.values()))
            console.print(table)
            if len(evidence.data) > MOST_ROWS:
                console.print(f"… and {len(evidence.data) - MOST_ROWS} more; all with -o json")
    console.print(f"{result.verdict.value}: {result.reason}", markup=False)
