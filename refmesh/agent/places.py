"""Ports, files and identities that are fixed for every sidecar: its programs, the injector and the rules agree on them.

Imports nothing, as everything here on the path of a hook or of the capture: a pod's start waits for those processes,
and `typing` and `dataclasses` alone would take longer than what they do.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ADMIN_PORT",
    "AGENT_PORT",
    "INBOUND_PORT",
    "INBOUND_SOURCE",
    "OUTBOUND_PORT",
    "PROXY_UID",
    "READY_PORT",
    "RUN_DIR",
    "TOKEN_PATH",
    "is_classic",
]

ADMIN_PORT = 15000
OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
AGENT_PORT = 15020
READY_PORT = 15021
PROXY_UID = 1337
INBOUND_SOURCE = "127.0.0.6"
"""Envoy and the agent speak to the application from this address; the capture rules let it through uncaptured."""
RUN_DIR = "/var/run/refmesh"
TOKEN_PATH = "/var/run/secrets/tokens/istio-token"  # noqa: S105  (a path)


def is_classic(env: Mapping[str, str]) -> bool:
    """Whether the injector made a classic sidecar."""
    return env.get("REFMESH_SIDECAR") == "classic"
