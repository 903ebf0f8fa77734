"""The first process of the sidecar.

What a pod's start waits for longest is the enrolment, so its child is on its way before anything is imported that takes
time itself: `dataclasses` alone takes as long as an interpreter's start.
"""

from __future__ import annotations

import signal
import sys

from refmesh.agent.spawn import spawn

__all__ = ["main"]

HANDLED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def main() -> int:
    """Run until Envoy ends or the pod is told to; returns the exit code."""
    # Blocked here and in every thread to come; taken one by one later. Children get an empty mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        enrolment = spawn()
    except OSError as error:
        sys.stderr.write(f"refmesh-agent: {error}\n")
        return 2
    from refmesh.agent.sidecar import run

    return run(enrolment, HANDLED)


if __name__ == "__main__":
    sys.exit(main())
