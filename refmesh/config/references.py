"""Whether what an object refers to exists. Used to route by, and to report by, so that both say the same."""

from __future__ import annotations

from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.routing import Destination
from refmesh.config.model import Key, Snapshot

__all__ = ["backend_problem", "granted", "service_of"]


def service_of(host: str) -> Key:
    """Namespace and name of the Service that a full host name belongs to, if it is one's at all."""
    name, _, rest = host.partition(".")
    return (rest.partition(".")[0], name)


def backend_problem(snapshot: Snapshot, route: GatewayRoute, destination: Destination) -> str:
    """Why a backend of a route cannot be resolved, as `Reason: sentence`; empty for a good one."""
    if destination.invalid:
        return destination.invalid
    namespace, name = service_of(destination.host)
    if not granted(snapshot, route, (namespace, name)):
        return (
            f"RefNotPermitted: no ReferenceGrant in {namespace} lets a {route.meta.kind} of {route.meta.namespace} "
            f"use Service {name}"
        )
    service = snapshot.services.get((namespace, name))
    if service is None:
        return f"BackendNotFound: there is no Service {namespace}/{name}"
    if service.port(destination.port) is None:
        return f"BackendNotFound: Service {namespace}/{name} has no TCP port {destination.port}"
    return ""


def granted(snapshot: Snapshot, route: GatewayRoute, backend: Key) -> bool:
    """Whether the owner of a backend lets the route send traffic there.

    A consumer's route may send on to the Service that it is attached to: that is where its requests went without it.
    """
    namespace, name = backend
    if namespace == route.meta.namespace or any(parent.key == backend for parent in route.parents):
        return True
    return any(
        grant.allows(route.meta.kind, route.meta.namespace, name)
        for grant in snapshot.reference_grants.values()
        if grant.meta.namespace == namespace
    )
