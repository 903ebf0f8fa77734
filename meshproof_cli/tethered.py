"""`python -m meshproof_cli.tethered MODULE ARGS`: runs a module that is told to end when our process is gone.

A run that is killed with SIGKILL cannot end its children itself; on Linux the kernel does it.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

__all__ = ["tether"]

_PR_SET_PDEATHSIG = 1


def tether(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when `parent` ends; end now if it has ended already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
