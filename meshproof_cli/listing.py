"""`meshproof list`: what there is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshproof_cli.output import Output, show
from reports.errors import UsageProblem

__all__ = ["app"]

app = typer.Typer(
    help="List the checks, profiles, experiments, faults or meshes there are.",
    no_args_is_help=True,
    add_completion=False,
)

_Output = Annotated[Output, typer.Option("-o", "--output", help="How to print.")]


@app.command()
def checks(output: _Output = Output.TABLE) -> None:
    """List the conformance checks."""
    from conformance.catalogue import checks as every

    show([_check(one, output) for one in every()], output)


@app.command()
def profiles(output: _Output = Output.TABLE) -> None:
    """List the profiles: parts of the conformance checks that --profile takes."""
    from conformance.catalogue import checks as every
    from conformance.profiles import PROFILES

    rows = [(part, [one.id for one in every() if part.holds(one)]) for part in PROFILES]
    show(
        [
            {"name": part.name, "title": part.title, "checks": len(ids) if output is Output.TABLE else ids}
            for part, ids in rows
        ],
        output,
    )


def _check(one: Any, output: Output) -> dict[str, Any]:
    row = {"id": one.id, "title": one.title, "level": one.level, "requires": list(one.requires)}
    if output is not Output.TABLE:
        row |= {"proves": list(one.proves), "reference": one.reference}
    return row


@app.command()
def experiments(output: _Output = Output.TABLE) -> None:
    """List the chaos experiments."""
    import chaos

    show(chaos.catalogue().experiments, output)


@app.command()
def faults(output: _Output = Output.TABLE) -> None:
    """List the faults that experiments are made of."""
    import chaos

    show(chaos.catalogue().faults, output)


@app.command()
def meshes(output: _Output = Output.TABLE) -> None:
    """List the meshes that can be judged."""
    from conformance.adapters import known

    show([{"name": name, "title": _title(name)} for name in known()], output)


def _title(mesh: str) -> str:
    """What a mesh is called. An adapter that is broken takes no other's line."""
    from conformance.adapters import load

    try:
        return load(mesh).title
    except UsageProblem as error:
        return error.problem
