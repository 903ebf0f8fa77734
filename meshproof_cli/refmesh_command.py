"""`meshproof refmesh …`: hands everything over to refmesh's own program, which imports none of the rooms."""

from __future__ import annotations

import os
import sys

import typer

from meshproof_cli.processes import module_command, module_environment
from meshproof_cli.refmesh_setting import refmesh_variables

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def refmesh(context: typer.Context) -> None:
    """Run refmesh's own command line."""
    command = module_command("refmesh", *context.args)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, module_environment(refmesh_variables()))  # noqa: S606 - no shell is wanted
