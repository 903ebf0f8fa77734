"""What refmesh's programs in pods have in common: a log on standard error, and a sentence where they cannot go on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from refmesh.errors import RefmeshError

__all__ = ["run"]


def run(work: Callable[[], None], log_level: str) -> int:
    """Do a program's work; its exit code."""
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    try:
        work()
    except RefmeshError as error:
        print(f"refmesh: {error}", file=sys.stderr)  # noqa: T201 - the last word of a process that cannot go on
        return error.exit_code
    return 0
