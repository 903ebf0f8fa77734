"""Starts the child that enrols, on which a pod's start waits longest: imports nothing that takes time itself."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["spawn"]


def spawn() -> int:
    """Start the child and return the reading end of its pipe. The supervisor reaps it. Raises `OSError`."""
    reading, writing = os.pipe()
    try:
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "refmesh.agent.enrol"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE],
        )
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return reading
