"""`refmesh install`, `uninstall`, `check`, `version` and `defects`."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from refmesh import defects
from refmesh.cli.common import (
    Context,
    Form,
    Kubeconfig,
    Output,
    Templates,
    Yes,
    app,
    confirm,
    dump_objects,
    run,
    say,
    show,
)
from refmesh.install import installer, options, templates
from refmesh.install.check import check as look
from refmesh.install.default_image import default_image

__all__: list[str] = []

Profile = Annotated[
    str | None,
    typer.Option("--profile", help=f"{', '.join(options.PROFILES)}.", autocompletion=lambda: sorted(options.PROFILES)),
]


@app.command()
def install(
    image: Annotated[
        str | None,
        typer.Option(
            "--image", help="Image of control plane and proxies; without, one is built where it can be loaded."
        ),
    ] = None,
    profile: Profile = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, may be repeated.")] = None,
    defect: Annotated[
        str | None, typer.Option("--defect", help="Switch on one seeded defect (refmesh defects).")
    ] = None,
    injector_templates: Templates = None,
    gateway_api_crds: Annotated[Path | None, typer.Option(help="File or folder with Gateway API's CRDs.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects and change nothing.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds until the control plane must serve.", min=1.0)] = 120.0,
    output: Form = Output.TABLE,
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Install refmesh on a cluster (or bring an installation up to date) and wait until it serves."""
    chosen = options.parse(profile, settings or [])
    if defect is not None:
        # here as well as in the control plane: the webhook's selectors come from a seam
        defects.switch_on(defect)
    given = image or os.environ.get("REFMESH_IMAGE")
    named = installer.check_image(given or default_image(kubeconfig, context, load=False))
    plan = installer.Plan(named, chosen, defect, gateway_api_crds, timeout, templates.load(injector_templates))
    if dry_run:
        dump_objects(plan.objects(), as_json=output is Output.JSON)
        return
    confirm(f"This installs refmesh (profile {chosen.profile}) on the cluster. Go on?", yes)
    if not given:  # not before somebody agreed: the nodes keep what is loaded
        named = installer.check_image(default_image(kubeconfig, context, load=True))
        plan = replace(plan, image=named)
    started = time.monotonic()
    run(kubeconfig, context, lambda kube: installer.install(kube, plan, lambda text: say(f"  ✔ {text}")))
    seconds = round(time.monotonic() - started, 2)
    if output is Output.TABLE:
        say(
            f"refmesh serves after {seconds} s. Label a namespace: kubectl label namespace NAME istio-injection=enabled"
        )
    else:
        show([{"installed": True, "image": named, "profile": chosen.profile, "seconds": seconds}], output)


@app.command()
def uninstall(
    purge: Annotated[bool, typer.Option("--purge", help="Delete the kinds even if there are objects of them.")] = False,
    defect: Annotated[str | None, typer.Option("--defect", hidden=True)] = None,
    output: Form = Output.TABLE,
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take refmesh off a cluster. Injected pods keep their proxy until they are created anew."""
    if defect is not None:  # one of a seeded uninstaller
        defects.switch_on(defect)
    confirm("This removes refmesh from the cluster. Go on?", yes)
    removed, left = list[str](), list[str]()

    def tell(kept: list[str], sign: str, text: str) -> None:
        kept.append(text)
        say(f"  {sign} {text}")

    report, note = partial(tell, removed, "✔"), partial(tell, left, "–")
    run(kubeconfig, context, lambda kube: installer.uninstall(kube, report, note, purge=purge))
    say("refmesh is gone.")
    if output is not Output.TABLE:
        show([{"uninstalled": True, "removed": removed, "left": left}], output)


@app.command()
def check(output: Form = Output.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Look whether the mesh is well; exit code 1 if something is not."""
    findings = run(kubeconfig, context, look)
    if output is Output.TABLE:
        for finding in findings:
            typer.echo(f"{'ok    ' if finding.ok else 'not ok'}  {finding.name}: {finding.detail}")
    else:
        show([{"name": f.name, "ok": f.ok, "detail": f.detail} for f in findings], output)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(code=1)


@app.command("defects")
def list_defects(output: Form = Output.TABLE) -> None:
    """List the seeded defects, and the variants that behave as the sound mesh, that `install --defect NAME` takes."""
    kinds = (("defect", defects.catalogue()), ("equivalent", defects.equivalents()))
    rows = [
        {"name": one.name, "kind": kind, "capability": one.capability, "seam": one.seam, "summary": one.summary}
        for kind, all_of_them in kinds
        for one in all_of_them
    ]
    if output is Output.TABLE:
        rows = [{head: value for head, value in row.items() if head != "seam"} for row in rows]
    show(rows, output)


@app.command()
def version(output: Form = Output.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Show the image of the installed control plane."""
    image = run(kubeconfig, context, installer.installed_image)
    show([{"control plane": image or "not installed"}], output)
