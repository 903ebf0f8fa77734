"""What is run inside the sidecar from outside: `python -m refmesh.agent.hooks wait` after start, `… drain` before stop.

In a classic sidecar `drain` goes on until the application has ended, for the kubelet tells both to end at once.

`… retire` is a gateway's `drain`: it goes on for the seconds in which nodes may still send it new clients.

`… admin PATH` prints a page of Envoy's admin port, for `refmesh proxy-config`: the port itself stays on loopback.
"""

from __future__ import annotations

import os
import sys
import time

from refmesh.agent.admin import admin, wait_ready
from refmesh.agent.places import is_classic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_START_SECONDS = 120.0
_RETIRE_SECONDS = 4.0


def main(arguments: Sequence[str]) -> int:
    """Run one hook and return its exit code."""
    if arguments == ["wait"]:
        # The kubelet starts the next container only when this returns.
        if wait_ready(_START_SECONDS):
            return 0
        sys.stderr.write("the proxy has no configuration after 120 s\n")
        return 1
    if arguments == ["drain"]:
        # Peers are told to go elsewhere with each answer from now on; the application goes on until it ends by itself.
        try:
            admin("POST", "/drain_listeners?graceful&inboundonly&skip_exit")
        except (OSError, ValueError) as error:
            sys.stderr.write(f"the proxy could not be drained: {error}\n")
        if is_classic(os.environ):
            from refmesh.agent.sockets import outlive  # no other hook has to wait for it to be read

            outlive()
        return 0
    if arguments == ["retire"]:
        code = main(["drain"])
        time.sleep(_RETIRE_SECONDS)
        return code
    if len(arguments) == 2 and arguments[0] == "admin":
        return _show(arguments[1])
    sys.stderr.write("usage: python -m refmesh.agent.hooks wait | drain | retire | admin PATH\n")
    return 2


def _show(path: str) -> int:
    try:
        status, body = admin("GET", path, timeout=10.0)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the proxy's admin port does not answer: {error}\n")
        return 1
    sys.stdout.buffer.write(body)
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
