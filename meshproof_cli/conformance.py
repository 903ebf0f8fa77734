"""`meshproof conformance`: judges the mesh of a cluster that exists, and does nothing else to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from meshproof_cli import completion, flags
from meshproof_cli.output import Output
from meshproof_cli.plan import Options
from meshproof_cli.run import catalogues, follow

__all__ = ["app"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

FULL = "full"


@app.command()
def conformance(
    mesh: flags.Mesh = "refmesh",
    kubeconfig: flags.Kubeconfig = None,
    context: flags.Context = None,
    profile: Annotated[
        str,
        typer.Option(
            help="Part of the catalogue to judge; see `meshproof list profiles`.", autocompletion=completion.profiles
        ),
    ] = FULL,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Checks or groups to judge, such as WT,CB-01. May be repeated.", autocompletion=completion.parts
        ),
    ] = None,
    skip: flags.Skip = None,
    features: flags.Features = None,
    exempt: flags.Exempt = None,
    rerun_failed: flags.RerunFailed = None,
    seed: flags.Seed = None,
    alpha: flags.Alpha = None,
    disruptive: flags.Disruptive = False,
    listing: flags.Listing = False,
    dry_run: flags.DryRun = False,
    report_dir: flags.ReportDir = Path("meshproof-report"),
    assignments: flags.Set = None,
    config: flags.Config = None,
    image: flags.Image = None,
    workers: flags.Workers = None,
    output: flags.Printed = Output.TABLE,
) -> None:
    """Judge the mesh of an existing cluster by every conformance check, without chaos and load.

    The mesh must be installed already. Only namespaces of our own are created, and removed afterwards; checks that
    disturb the mesh as a whole are left out without --disruptive.
    """
    options = Options(
        mesh=mesh,
        cluster="existing",
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
        profile=profile,
        report_dir=report_dir,
        image=image,
        workers=workers,
        install=False,
        config=config,
        assignments=tuple(assignments or ()),
    )
    known = replace(catalogues(), experiments=(), measurements=())
    follow(options, known, listing=listing, dry_run=dry_run, output=output)
