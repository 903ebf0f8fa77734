"""Starting our own modules as programs, from a clone as well as installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["child_command", "module_command", "module_environment"]

_ROOT = Path(__file__).resolve().parent.parent


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `module`. `-P` keeps the user's directory, which may hold a `reports`, off the path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_command(module: str, *arguments: str) -> list[str]:
    """As `module_command`, for a child that must not outlive us."""
    return module_command("meshproof_cli.tethered", str(os.getpid()), module, *arguments)


def module_environment(extra: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """Our environment, with the place we were imported from first on the path."""
    path = os.environ.get("PYTHONPATH", "")
    parts = [str(_ROOT), *(part for part in path.split(os.pathsep) if part and part != str(_ROOT))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(parts), **dict(extra)}
