"""The container's life-cycle hooks: `python -m refmesh.agent.hooks wait` after start, `… drain` before stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from refmesh.agent.admin import admin, wait_ready

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_START_SECONDS = 120.0


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
        return 0
    sys.stderr.write("usage: python -m refmesh.agent.hooks wait|drain\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
