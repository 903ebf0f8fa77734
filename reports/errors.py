"""The product's errors. One sentence for the user, one fix, one exit code; never a traceback for a user's mistake."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EnvironmentProblem", "ExitCode", "MeshproofError", "UsageProblem"]


class ExitCode(IntEnum):
    """What `meshproof` tells its caller. The README carries the same table."""

    CONFORMANT = 0
    """Or nothing but measurements was asked for, and they were made."""
    NOT_CONFORMANT = 1
    USAGE = 2
    """A bad flag, file, name or field: the user can fix the call."""
    ENVIRONMENT = 3
    """The machine or the cluster lacks something: root, a kernel feature, disk, a reachable API server."""
    NOT_PROVEN = 4
    """Nothing failed, yet a core verdict is inconclusive or was not run."""
    INTERNAL = 70
    INTERRUPTED = 130


class MeshproofError(Exception):
    """Base of every error this product raises on purpose.

    `problem` is one sentence that names the field, file or feature; `fix` says what to do about it.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, problem: str, *, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}" if self.fix else self.problem


class UsageProblem(MeshproofError):
    """The call or a file the user wrote is wrong."""

    exit_code = ExitCode.USAGE


class EnvironmentProblem(MeshproofError):
    """The machine, the cluster or the network cannot do what was asked."""

    exit_code = ExitCode.ENVIRONMENT
