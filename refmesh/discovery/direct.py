"""Headless Services: clients name an endpoint by its own address, and find a listener and a cluster for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.config.model import Key, Service, ServicePort, Snapshot
from refmesh.discovery import clusters, endpoints, outbound
from refmesh.discovery.limits import StreamHandling
from refmesh.discovery.variants import Recipe

__all__ = ["direct_cluster", "direct_listeners", "is_direct", "sharing_pods"]


def direct_cluster(
    service: Service, port: ServicePort, rule: DestinationRule | None, identities: tuple[str, ...], domain: str
) -> clusters.OutboundCluster:
    """The cluster for the endpoints of a port: over mutual TLS, or as a rule says."""
    policy = rule.policy_of("", port.port) if rule is not None else TrafficPolicy()
    host = service.host(domain)
    return clusters.OutboundCluster(host, port.port, "", port.protocol, policy, identities, direct=True)


def direct_listeners(cluster: clusters.OutboundCluster, backends: Iterable[endpoints.Backend]) -> Iterator[Recipe]:
    """A listener for each endpoint. One without a proxy is reached as any address is, unless a rule asks for TLS."""
    for backend in backends:
        spec = outbound.OutboundListener(
            backend.address,
            backend.port,
            cluster.protocol,
            cluster.host,
            direct=True,
            service_port=cluster.port,
            plain=not (backend.mtls or cluster.policy.demands_tls),
            peer=backend.peer,
            handling=StreamHandling.of(cluster.policy),
        )
        yield Recipe(spec.name, spec, partial(outbound.outbound_listener, spec), closing=spec.plain)


def is_direct(recipe: Recipe) -> bool:
    """Whether a listener is one of these."""
    return isinstance(recipe.inputs, outbound.OutboundListener) and recipe.inputs.direct


def sharing_pods(snapshot: Snapshot, keys: Iterable[Key]) -> Iterator[Service]:
    """The headless Services that may have a pod in common with one of these, which have a say in its listener."""
    services = [snapshot.services[key] for key in keys if key in snapshot.services]
    for namespace in sorted({service.namespace for service in services if not service.addresses}):
        for service in snapshot.services_of_namespace.get(namespace, ()):
            if not service.addresses:
                yield service
