"""Errors of refmesh that a person reads: one sentence of problem, one of what to do about it.

Only for mistakes and surroundings a user can change. A bug stays an ordinary exception with its traceback.
"""

from __future__ import annotations

__all__ = ["EnvironmentProblem", "RefmeshError", "UsageProblem"]


class RefmeshError(Exception):
    """Something a user should read: what went wrong, and how to put it right."""

    exit_code = 1

    def __init__(self, problem: str, *, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem} {self.fix}" if self.fix else self.problem


class UsageProblem(RefmeshError):
    """The command line or a file given to it is wrong."""

    exit_code = 2


class EnvironmentProblem(RefmeshError):
    """The surroundings are not as needed: no cluster, no permission, a port in use."""

    exit_code = 3
