"""refmesh's own program, run for its effect; its complaint becomes ours."""

from __future__ import annotations

import json
import math
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from meshproof_cli.processes import Child, child_command, module_command, module_environment, watched
from meshproof_cli.refmesh_setting import refmesh_variables
from reports.errors import EnvironmentProblem, ExitCode, MeshproofError, UsageProblem

__all__ = ["defects", "refmesh"]

_PATIENCE = 10.0  # seconds for it to end where we are told to: what it has begun is taken away afterwards


def defects() -> list[dict[str, Any]]:
    """refmesh's seeded defects and equivalents, as its own program lists them."""
    done = subprocess.run(
        module_command("refmesh", "defects", "-o", "json"),
        check=False, capture_output=True, text=True, env=module_environment(),
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EnvironmentProblem(f"refmesh cannot list its defects: {reason}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def refmesh(*arguments: str, progress: Callable[[str], None], cancel: threading.Event | None = None) -> None:
    """Run refmesh's own program, until `cancel` is set. Raises a `MeshproofError` with its complaint.

    It has ended also where an interrupt goes on from here: it would work against what is done next.
    """
    lines: list[str] = []
    environment = module_environment(refmesh_variables())
    started = Child(
        child_command("refmesh", *arguments), _PATIENCE,
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    with started as child, watched(child, math.inf, cancel):
        process = child.process
        for line in process.stderr or ():
            if line.strip():
                lines.append(line.strip())
                progress(line.strip().lstrip("✔ "))
    if process.returncode:
        complaint = next(
            (line for line in lines if line.startswith("refmesh:")), lines[-1] if lines else "no reason given"
        )
        fix = next((line.removeprefix("fix:").strip() for line in lines if line.startswith("fix:")), "")
        kinds: dict[int, type[MeshproofError]] = {
            int(ExitCode.USAGE): UsageProblem,
            int(ExitCode.ENVIRONMENT): EnvironmentProblem,
        }
        raise kinds.get(process.returncode, EnvironmentProblem)(complaint.removeprefix("refmesh:").strip(), fix=fix)
