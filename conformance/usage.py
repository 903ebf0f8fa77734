"""Mistakes of the user's as pytest shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from reports.errors import MeshproofError

__all__ = ["as_usage"]


@contextlib.contextmanager
def as_usage() -> Iterator[None]:
    """Our one-sentence errors as pytest's: exit code 4 and no traceback."""
    try:
        yield
    except MeshproofError as error:
        raise pytest.UsageError(f"{error.problem} ({error.fix})" if error.fix else error.problem) from error
