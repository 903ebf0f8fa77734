"""`meshproof refmesh …`: hands everything over to refmesh's own program, which imports none of the rooms."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import typer
from typer.core import TyperCommand

from meshproof_cli.processes import module_command, module_environment
from meshproof_cli.refmesh_setting import refmesh_variables

__all__ = ["app"]

PROGRAM = "meshproof refmesh"

app = typer.Typer(add_completion=False)


class _Handed(TyperCommand):
    """Offers a shell what refmesh's own program would."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The values that it says for the words so far, as to bash."""
        typed = ["refmesh", *ctx.args]
        asked = {
            "_REFMESH_COMPLETE": "complete_bash",
            "COMP_WORDS": f"{shlex.join(typed)} {incomplete}",
            "COMP_CWORD": str(len(typed)),
        }
        done = subprocess.run(
            module_command("refmesh"), env=module_environment([*asked.items()]), check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        return [SimpleNamespace(value=value, help=None, type="plain") for value in done.stdout.splitlines()]


@app.command(
    cls=_Handed,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def refmesh(context: typer.Context) -> None:
    """Run refmesh's own command line."""
    command = module_command("refmesh", *context.args)
    sys.stdout.flush()
    sys.stderr.flush()
    environment = module_environment([*refmesh_variables(), ("REFMESH_PROGRAM", PROGRAM)])
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted
