"""Waits until this pod's capture rules are in force: the first container of a pod that its node captures.

`python -m refmesh.agent.awaiting`. It takes nobody's word: as the proxy's user it calls an address of its own where
nobody listens, which only the rules lead to the proxy's inbound port, and there it listens itself, for the proxy starts
after it. The rules of IPv4, and those of IPv6, are put in force as a whole, so one call proves all of them.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from refmesh.agent.capture import ipv6_address
from refmesh.agent.places import INBOUND_PORT

__all__ = ["COMMAND", "main", "proven"]

COMMAND = ("python", "-m", "refmesh.agent.awaiting")
_SECONDS = 120.0
"""Long enough for a node that has just joined to get its agent."""
_PATIENCE_SECONDS = 5.0
_PACE_SECONDS = 0.02
_CALL_SECONDS = 0.2
_FAMILIES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
"""Where the rules lead what a pod calls of its own."""
_CALLED = "127.0.0.2"
"""Of the loopback network, and not the one address of it that is never captured."""


def main(seconds: float = _SECONDS) -> int:
    """Wait; returns the exit code."""
    node = os.environ.get("NODE_NAME") or "this node"
    begun, told = time.monotonic(), False
    try:
        with _listener(socket.AF_INET) as here:
            while not (proven(here, (_CALLED, INBOUND_PORT)) and _proven_ipv6()):
                passed = time.monotonic() - begun
                if passed > seconds:
                    _say(
                        f"no agent on {node} has captured this pod's traffic within {seconds:.0f} s. "
                        "`refmesh check` names nodes without a ready agent; "
                        f"see `kubectl -n refmesh-node get pods --field-selector spec.nodeName={node}`."
                    )
                    return 1
                if passed > _PATIENCE_SECONDS and not told:
                    told = True
                    _say(f"waiting for the agent of {node} to capture this pod's traffic")
                time.sleep(_PACE_SECONDS)
    except OSError as error:
        _say(f"port {INBOUND_PORT}, the proxy's, cannot be opened: {error.strerror}")
        return 1
    return 0


def _listener(family: socket.AddressFamily) -> socket.socket:
    here = socket.create_server((_FAMILIES[family], INBOUND_PORT), family=family)
    here.setblocking(False)
    return here


def _proven_ipv6() -> bool:
    """Whether the rules of IPv6 are in force as well, where the pod has an address for it. Raises OSError."""
    address = ipv6_address()
    if address is None:
        return True
    with _listener(socket.AF_INET6) as here:
        return proven(here, (address, INBOUND_PORT))


def proven(here: socket.socket, called: tuple[str, int]) -> bool:
    """Whether a call to the address `called` arrives at the listener `here`, which waits for nothing."""
    with socket.socket(here.family, socket.SOCK_STREAM) as call:
        call.settimeout(_CALL_SECONDS)
        try:
            call.connect(called)
        except OSError:
            return False
        mine = call.getsockname()
        while True:
            try:
                arrived, caller = here.accept()
            except OSError:
                return False  # somebody else listens there: nothing is proven
            arrived.close()
            if caller == mine:
                return True


def _say(sentence: str) -> None:
    sys.stderr.write(f"refmesh-init: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
