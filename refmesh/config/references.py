"""Whether what an object refers to exists. Used to route by, and to report by, so that both say the same."""

from __future__ import annotations

from refmesh.api.routing import Destination
from refmesh.config.model import Snapshot

__all__ = ["backend_problem"]


def backend_problem(snapshot: Snapshot, destination: Destination) -> str:
    """Why a backend of an HTTPRoute cannot be resolved, as `Reason: sentence`; empty for a good one."""
    if destination.invalid:
        return destination.invalid
    name, _, rest = destination.host.partition(".")
    namespace = rest.partition(".")[0]
    service = snapshot.services.get((namespace, name))
    if service is None:
        return f"BackendNotFound: there is no Service {namespace}/{name}"
    if service.port(destination.port) is None:
        return f"BackendNotFound: Service {namespace}/{name} has no TCP port {destination.port}"
    return ""
