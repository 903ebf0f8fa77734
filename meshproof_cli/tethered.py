"""`python -m meshproof_cli.tethered MODULE ARGS`: runs a module that is told to end when our process is gone.

A run that is killed with SIGKILL cannot end its children itself; on Linux the kernel does it. They are told by SIGINT,
as we tell them: it lets them clean up.
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
    """Have the kernel send SIGINT to this process when `parent` ends; end now if it has ended already."""
    # What a shell starts in the background ignores it, and hands that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
