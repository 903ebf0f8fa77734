"""The standard input, which a script may have closed: Python's `sys.stdin` is None then."""

from __future__ import annotations

import sys

from refmesh.errors import UsageProblem

__all__ = ["has_terminal", "read_input"]


def has_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_input() -> str:
    """All of it, for `-` in place of a file. Raises `UsageProblem` where it is closed."""
    if sys.stdin is None:
        raise UsageProblem("The standard input is closed, and - means to read it.", fix="Name a file.")
    return sys.stdin.read()
