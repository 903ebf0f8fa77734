"""`meshproof chaos`: run experiments, put a cluster back."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from chaos.restoring import left_standing
from chaos.restoring import restore as put_back
from chaos.settings import Settings
from chaos.suite import catalogue
from chaos.suite import run as run_experiments
from conformance.adapters import load
from conformance.dressing import Dressed
from conformance.settings import read_settings
from fixtures.kube import Kube
from load.meshing import limited
from reports.commands import command
from reports.console import say, step
from reports.errors import ExitCode
from reports.model import PHASES, Result, Run, result_to_json

__all__ = ["Output", "app"]

app = typer.Typer(help="Break a mesh under load, and put it back.", no_args_is_help=True, add_completion=False)

Kubeconfig = Annotated[Path | None, typer.Option(help="Cluster to use; default as kubectl.")]
Context = Annotated[str | None, typer.Option(help="Context in the kubeconfig.")]


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@app.command()
def run(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Ids such as C1 P1; default: all that are not disruptive.")
    ] = None,
    mesh: Annotated[str, typer.Option(help="Mesh to break.")] = "refmesh",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    image: Annotated[str | None, typer.Option(help="Image of the workloads; default: this product's own.")] = None,
    disruptive: Annotated[
        bool,
        typer.Option(
            "--disruptive", help="Without ids: also those that stop the mesh's own control plane for seconds."
        ),
    ] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the mesh or of the run.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The same settings in a YAML file; --set wins.")] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="table, json or yaml.")] = Output.TABLE,
) -> None:
    """Run experiments one after the other; exit code 0 when one passed, and each came out as it must.

    What disturbs the mesh as a whole is only done where its id is given, or --disruptive.
    """
    chosen = experiments or _undisruptive(everything=disruptive)
    settings = read_settings(config, assignments or ())
    adapter = load(mesh, settings.mesh)
    kube = Dressed(Kube.connect(kubeconfig, context), settings, adapter)
    used = image or settings.image
    if not used:
        from fixtures.images import image_reference

        used = image_reference()
    again = {
        "--mesh": mesh,
        "--kubeconfig": kubeconfig and kubeconfig.resolve(),
        "--context": context,
        "--image": image,
        "--config": config and config.resolve(),
        "--set": assignments,
    }
    found: list[Result] = []

    def keep(result: Result) -> None:
        found.append(replace(result, reproduce=command(["meshproof", "chaos", "run", result.id], again)))

    try:
        with step(f"chaos on {mesh}") as shown:
            limits = limited(Settings(), settings.timeouts)
            run_experiments(kube, adapter, used, chosen, shown.update, limits, keep)
    finally:  # also where it was interrupted: what was found out is worth telling
        if found:
            _print(tuple(found), output)
    results = tuple(found)
    code = Run(
        mesh=mesh,
        mesh_version="",
        cluster=kube.host,
        environment={},
        started=0,
        seconds=0,
        stages=(),
        results=results,
        options={},
        product_version="",
    ).exit_code
    if code is not ExitCode.CONFORMANT:
        raise typer.Exit(int(code))


@app.command()
def restore(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    force: Annotated[bool, typer.Option(help="Even while another run is at work, which this breaks off.")] = False,
    everywhere: Annotated[
        bool, typer.Option("--all", help="Also the namespaces of runs on other machines, which may be at work.")
    ] = False,
) -> None:
    """Take back every fault that a dead run left, and remove its namespaces; a mesh that it installed stays."""
    kube = Kube.connect(kubeconfig, context)
    fix = "wait for its end, or pass --force, which breaks that run off"
    with step("looking for what a dead run left"):  # it takes a while to know that it is dead
        undone = put_back(kube, force=force, everywhere=everywhere, fix=fix)
        others = left_standing(kube)
    for undo in undone:
        say(f"took back {undo.fault}: {', '.join(f'{k}={v}' for k, v in undo.arguments.items())}")
    for host, names in others.items():
        say(f"left, as the run on {host} that made them may be at work: {', '.join(names)}; --all removes them too")
    if undone or not others:
        say(f"{len(undone)} entries taken back" if undone else "nothing was left to take back")


def _undisruptive(*, everything: bool) -> list[str]:
    """Every experiment, or those that leave the mesh itself alone; says which ones are left out."""
    known = catalogue()
    ids = [one["id"] for one in known.experiments]
    if not everything:
        say(f"Left out without --disruptive: {', '.join(one for one in ids if one in known.disruptive)}")
    return [one for one in ids if everything or one not in known.disruptive]


def _print(results: tuple[Result, ...], output: Output) -> None:
    documents = [result_to_json(result) for result in results]
    if output is Output.JSON:
        print(json.dumps(documents, indent=2))
        return
    if output is Output.YAML:
        print(yaml.safe_dump(documents, sort_keys=False, allow_unicode=True), end="")
        return
    caption = (
        f"success: from the fault on; p99 of what was served (N1: of all): {'/'.join(PHASES)}; "
        "recovered: traffic/everything, since the fault was over"
    )
    table = Table("id", "verdict", "success", "p99 ms", "recovered s", "unauthorised", caption=caption)
    p99 = [f"p99_ms_{phase}" for phase in PHASES]
    for result in results:
        figures = result.metrics
        table.add_row(
            result.id,
            result.verdict.value + (", as it must" if result.right and result.expected != "pass" else ""),
            f"{figures['success_from_fault_on']:.2%}" if "success_from_fault_on" in figures else "-",
            "/".join(f"{figures[key]:.0f}" if key in figures else "-" for key in p99),
            "/".join(
                f"{figures[key]:.1f}" if key in figures else "-"
                for key in ("seconds_to_steady_traffic", "seconds_to_recover")
            ),
            f"{figures['unauthorised_successes']:.0f}" if "unauthorised_successes" in figures else "-",
        )
    console = Console()
    console.print(table)
    for result in results:
        console.print(f"{result.id}: {result.reason}", markup=False)
