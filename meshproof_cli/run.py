"""`meshproof run`: the whole job, from nothing to a report."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from meshproof_cli.output import Output
from meshproof_cli.plan import Known, Options, Plan, make_plan

__all__ = ["app"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

LATENCY = "LAT01"


@app.command()
def run(
    mesh: Annotated[str, typer.Option(help="The mesh to judge; `none` is the negative control.")] = "refmesh",
    cluster: Annotated[
        str | None, typer.Option(help="embedded, kind or existing; default: kind where Docker answers, else embedded.")
    ] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig of an existing cluster.")] = None,
    context: Annotated[str | None, typer.Option(help="Context in the kubeconfig.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Ids or groups, such as WT,C1; also conformance, chaos, latency. May be repeated."),
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Ids or groups to leave out. May be repeated.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Part of the conformance checks to judge: headline (the default without --only), full, core, extended"
            " or one capability; see `meshproof list profiles`."
        ),
    ] = None,
    report_dir: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("meshproof-report"),
    keep_cluster: Annotated[bool, typer.Option("--keep-cluster", help="Leave the cluster for a look.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    defect: Annotated[
        str | None, typer.Option(help="Install refmesh with a seeded defect (`meshproof refmesh defects`).")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Image to use instead of building one.")] = None,
    workers: Annotated[int | None, typer.Option("-n", "--workers", help="Conformance workers side by side.")] = None,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Do not ask before installing on an existing cluster.")
    ] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="What to print on stdout.")] = Output.TABLE,
) -> None:
    """Do the whole job: cluster, mesh, conformance, chaos under load, proxy latency, report, clean-up.

    Exit code 0 only on a conformant mesh.
    """
    options = Options(
        mesh=mesh,
        cluster=cluster,
        kubeconfig=kubeconfig,
        context=context,
        only=_words(only),
        skip=_words(skip),
        report_dir=report_dir,
        keep_cluster=keep_cluster,
        defect=defect,
        image=image,
        workers=workers,
        yes=yes,
        profile=profile or "",
    )
    known = _known()
    plan = _planned(options, known)
    if dry_run:
        for stage, what in plan.lines():
            typer.echo(f"{stage:<12}  {what}")
        return
    _carry_out(plan, known, output)


def _words(given: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(word.strip() for part in given or () for word in part.split(",") if word.strip())


def _known() -> Known:
    import chaos
    from conformance.catalogue import checks
    from conformance.profiles import HEADLINE, PROFILES

    every = checks()
    experiments = chaos.catalogue().experiments
    titles = {one.id: one.title for one in every} | {one["id"]: one["title"] for one in experiments}
    return Known(
        checks={one.id: one.group for one in every},
        experiments=tuple(one["id"] for one in experiments),
        measurements=(LATENCY,),
        titles=titles | {LATENCY: "latency that two sidecars add"},
        profiles={part.name: tuple(one.id for one in every if part.holds(one)) for part in PROFILES},
        default_profile=HEADLINE,
    )


def _planned(options: Options, known: Known) -> Plan:
    from conformance.adapters import known as meshes

    default = "embedded"
    if options.cluster is None and options.kubeconfig is None and options.context is None:
        from fixtures.cluster import default_provider

        default = default_provider().name
    return make_plan(options, known, meshes(), default, os.cpu_count() or 1)


def _carry_out(plan: Plan, known: Known, output: Output) -> None:
    from meshproof_cli.execute import execute
    from meshproof_cli.main import product_version
    from meshproof_cli.preflight import check
    from meshproof_cli.stages import Stages
    from reports.console import say
    from reports.data_files import json_text, yaml_text
    from reports.files import claim_directory
    from reports.github import publish
    from reports.table import print_table

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    stages = Stages()
    with stages.stage("preflight") as shown:
        check(plan)
        directory = claim_directory(plan.options.report_dir)
        shown.update(f"{len(plan.selection.ids)} to judge on {plan.options.mesh}")
    found, trouble = execute(plan, known, directory, product_version(), stages)
    if output is Output.JSON:
        sys.stdout.write(json_text(found))
    elif output is Output.YAML:
        sys.stdout.write(yaml_text(found))
    else:
        say("")
        print_table(found)
    say(f"Report: {directory / 'report.html'}")
    for line in publish(found):
        # GitHub reads its commands from both streams; JSON and YAML on stdout must stay whole.
        typer.echo(line, err=output is not Output.TABLE)
    if trouble is not None:
        raise trouble
    raise typer.Exit(int(found.exit_code))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Being told to end is like Ctrl-C: report and clean-up still happen."""
    raise KeyboardInterrupt
