"""The flags that `run` and `conformance` share, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from meshproof_cli import completion
from meshproof_cli.output import Output

__all__ = [
    "Alpha",
    "Config",
    "Context",
    "Disruptive",
    "DryRun",
    "Exempt",
    "Features",
    "Image",
    "Kubeconfig",
    "Listing",
    "Mesh",
    "Printed",
    "ReportDir",
    "RerunFailed",
    "Seed",
    "Set",
    "Skip",
    "Workers",
    "words",
]

Mesh = Annotated[
    str,
    typer.Option(
        help="The mesh to judge; `none` is the negative control, `auto` what the cluster has.",
        autocompletion=completion.meshes,
    ),
]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig of an existing cluster.")]
Context = Annotated[str | None, typer.Option(help="Context in the kubeconfig.")]
Skip = Annotated[
    list[str] | None,
    typer.Option(help="Ids or groups to leave out. May be repeated.", autocompletion=completion.anything),
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        help="Features that the mesh claims (default: all); checks of others are reported as unsupported."
        " May be repeated.",
        autocompletion=completion.claims,
    ),
]
Exempt = Annotated[
    list[str] | None,
    typer.Option(
        help="Features, groups or checks that are not held against the mesh; the report says so.",
        autocompletion=completion.exemptions,
    ),
]
RerunFailed = Annotated[
    Path | None,
    typer.Option(help="Only what failed or stayed open in an earlier report: its directory, results.json or bundle."),
]
Disruptive = Annotated[
    bool,
    typer.Option(
        "--disruptive",
        help="On an existing cluster also do what disturbs the mesh as a whole: stop and replace its control plane for"
        " seconds, change its root certificate, make it strict (no plaintext) for seconds.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Judge the checks in an order drawn with this seed.")]
Alpha = Annotated[float | None, typer.Option(help="Probability of a false alarm per check; default: 1e-5.")]
Listing = Annotated[bool, typer.Option("--list", help="List what would be judged, and do nothing.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
ReportDir = Annotated[Path, typer.Option(help="Where the report goes.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the mesh (trust-domain=example.org) or of the run (pods.labels.team=net). May be repeated.",
    ),
]
Config = Annotated[Path | None, typer.Option(help="The same settings in a YAML file; --set wins.")]
Image = Annotated[str | None, typer.Option(help="Image to use instead of building one.")]
Workers = Annotated[int | None, typer.Option("-n", "--workers", help="Conformance workers side by side.")]
Printed = Annotated[Output, typer.Option("-o", "--output", help="What to print on stdout.")]


def words(given: Sequence[str] | None) -> tuple[str, ...]:
    """The words of a flag that may be repeated and takes commas."""
    return tuple(word.strip() for part in given or () for word in part.split(",") if word.strip())
