"""`meshproof run`: the whole job, from nothing to a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from meshproof_cli import completion, flags
from meshproof_cli.interrupts import end_like_ctrl_c
from meshproof_cli.output import Output, show
from meshproof_cli.plan import Known, Options, Plan, make_plan
from meshproof_cli.settings import AUTO, adapter_of, found_mesh, settings_of
from reports.errors import MeshproofError

__all__ = ["app", "carry_out", "catalogues", "follow", "planned", "show_plan"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

LATENCY = "LAT01"


@app.command()
def run(
    mesh: flags.Mesh = "refmesh",
    cluster: Annotated[
        str | None, typer.Option(help="embedded, kind or existing; default: kind where Docker answers, else embedded.")
    ] = None,
    kubeconfig: flags.Kubeconfig = None,
    context: flags.Context = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Ids or groups, such as WT,C1; also conformance, chaos, latency. May be repeated.",
            autocompletion=completion.anything,
        ),
    ] = None,
    skip: flags.Skip = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Part of the conformance checks to judge: headline (the default without --only), full, core, extended"
            " or one capability; see `meshproof list profiles`.",
            autocompletion=completion.profiles,
        ),
    ] = None,
    features: flags.Features = None,
    exempt: flags.Exempt = None,
    rerun_failed: flags.RerunFailed = None,
    seed: flags.Seed = None,
    alpha: flags.Alpha = None,
    disruptive: flags.Disruptive = False,
    listing: flags.Listing = False,
    report_dir: flags.ReportDir = Path("meshproof-report"),
    keep_cluster: Annotated[bool, typer.Option("--keep-cluster", help="Leave the cluster for a look.")] = False,
    dry_run: flags.DryRun = False,
    defect: Annotated[
        str | None, typer.Option(help="Install refmesh with a seeded defect (`meshproof refmesh defects`).")
    ] = None,
    assignments: flags.Set = None,
    config: flags.Config = None,
    image: flags.Image = None,
    workers: flags.Workers = None,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Do not ask before installing on an existing cluster.")
    ] = False,
    output: flags.Printed = Output.TABLE,
) -> None:
    """Do the whole job: cluster, mesh, conformance, chaos under load, proxy latency, report, clean-up.

    Exit code 0 only on a conformant mesh, or where nothing but measurements was asked for.
    """
    options = Options(
        mesh=mesh,
        cluster=cluster,
        kubeconfig=kubeconfig,
        context=context,
        only=flags.words(only),
        skip=flags.words(skip),
        features=flags.words(features),
        exempt=flags.words(exempt),
        rerun_failed=rerun_failed,
        seed=seed,
        alpha=alpha,
        disruptive=disruptive,
        report_dir=report_dir,
        keep_cluster=keep_cluster,
        defect=defect,
        image=image,
        workers=workers,
        yes=yes,
        profile=profile or "",
        config=config,
        assignments=tuple(assignments or ()),
    )
    follow(options, catalogues(), listing=listing, dry_run=dry_run, output=output)


def follow(options: Options, known: Known, *, listing: bool, dry_run: bool, output: Output) -> None:
    """Carry out what the options ask for of what there is; or only say what would be judged or done."""
    with _told_to_github():
        plan = planned(options, known)
    if listing or dry_run:
        if dry_run:
            from meshproof_cli.preflight import check_words

            check_words(plan)
        show_plan(plan, known, listing=listing, output=output)
    else:
        carry_out(plan, known, output)


@contextmanager
def _told_to_github() -> Iterator[None]:
    """What keeps a run from its beginning is an annotation, too, where a GitHub job would show the exit code alone."""
    try:
        yield
    except MeshproofError as error:
        from reports.github import complaint

        for line in complaint(error):
            typer.echo(line, err=True)
        raise


def show_plan(plan: Plan, known: Known, *, listing: bool, output: Output) -> None:
    """Print what would be judged (`--list`) or done (`--dry-run`)."""
    if listing:
        show([{"id": one, "title": known.titles.get(one, "")} for one in plan.selection.ids], output)
        return
    if output is not Output.TABLE:
        show([{"stage": stage, "what": what} for stage, what in plan.lines()], output)
        return
    for stage, what in plan.lines():
        typer.echo(f"{stage:<12}  {what}")


def catalogues() -> Known:
    """Everything that can be asked for."""
    import chaos
    from conformance.catalogue import checks, disturbs
    from conformance.outcomes import unjudged
    from conformance.profiles import HEADLINE, PROFILES
    from load.plan import TITLE

    every = checks()
    catalogue = chaos.catalogue()
    experiments = catalogue.experiments
    titles = {one.id: one.title for one in every} | {one["id"]: one["title"] for one in experiments}
    return Known(
        checks={one.id: one.group for one in every},
        experiments=tuple(one["id"] for one in experiments),
        measurements=(LATENCY,),
        titles=titles | {LATENCY: TITLE},
        profiles={part.name: tuple(one.id for one in every if part.holds(one)) for part in PROFILES},
        default_profile=HEADLINE,
        disruptive=catalogue.disruptive | {one.id for one in every if disturbs(one)},
        last=frozenset(one.id for one in every if one.last),
        blank={one.id: unjudged(one) for one in every},
    )


def planned(options: Options, known: Known) -> Plan:
    """The plan of a call; every word of it is checked here. Raises `UsageProblem`."""
    from conformance.adapters import known as meshes
    from conformance.selection import excuses
    from fixtures.meshes import MESHES
    from reports.failures import failed_ids

    if options.mesh == AUTO:
        options = found_mesh(options)
    if not options.image and (named := settings_of(options).image):
        options = replace(options, image=named)
    if options.mesh in MESHES and not options.existing:
        options = replace(options, exempt=(*options.exempt, *MESHES[options.mesh].exempt))
    excused = excuses(",".join(options.features), ",".join(options.exempt))
    if options.rerun_failed is not None:
        options = replace(options, again=failed_ids(options.rerun_failed))
    default = "embedded"
    if options.cluster is None and options.kubeconfig is None and options.context is None:
        from fixtures.cluster import default_provider

        default = default_provider().name
    known = replace(
        known, excused=excused, installable=frozenset(MESHES), farewell=bool(settings_of(options).uninstall)
    )
    plan = make_plan(options, known, meshes(), default, os.cpu_count() or 1)
    adapter_of(plan.options)  # knows the settings of its mesh
    return plan


def carry_out(plan: Plan, known: Known, output: Output) -> None:
    """Do what the plan says, print what was found, and end with its exit code."""
    from chaos.log import NotTakenBack
    from meshproof_cli.execute import execute
    from meshproof_cli.main import product_version
    from meshproof_cli.preflight import check
    from meshproof_cli.stages import Stages
    from reports.console import say
    from reports.data_files import json_text, yaml_text
    from reports.errors import EnvironmentProblem, ExitCode
    from reports.files import claim_directory, held_directory
    from reports.github import publish
    from reports.table import print_table

    end_like_ctrl_c()
    stages = Stages()
    with _told_to_github(), stages.stage("preflight") as shown:
        check(plan)
        directory = claim_directory(plan.options.report_dir)
        shown.update(f"{len(plan.selection.ids)} to judge on {plan.options.mesh}")
    with held_directory(directory):
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
        failed = found.exit_code is ExitCode.NOT_CONFORMANT
        if failed and isinstance(trouble, EnvironmentProblem) and not isinstance(trouble, NotTakenBack):
            # Who tries again where the machine is at fault must not do so until a mesh that fails is lucky.
            trouble.exit_code = found.exit_code
        raise trouble
    raise typer.Exit(int(found.exit_code))
