"""Headless Services: clients name an endpoint by its own address, and find a listener and a cluster for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.config.addresses import of_pods, of_services
from refmesh.config.model import Key, Service, ServicePort, Snapshot
from refmesh.discovery import clusters, endpoints, outbound
from refmesh.discovery.limits import StreamHandling
from refmesh.discovery.variants import Recipe

__all__ = ["direct_cluster", "direct_listeners", "headless_services", "is_direct", "sharing_addresses"]


def headless_services(snapshot: Snapshot, namespace: str = "") -> list[Service]:
    """All that clients of a namespace are told of ("": everybody), the oldest first.

    Its word counts before that of others where they share an endpoint.
    """
    found = (one for one in snapshot.services.values() if one.headless and one.told(namespace))
    return sorted(found, key=lambda one: (one.created, one.key))


def sharing_addresses(snapshot: Snapshot, keys: Iterable[Key], namespace: str) -> list[Service]:
    """Those that have an endpoint's address in common with one of these, and so a say in its listener there."""
    asked = [snapshot.services[key] for key in keys if key in snapshot.services]
    addresses = frozenset[str]().union(*(_addresses(snapshot, service) for service in asked if service.headless))
    if not addresses:
        return []
    return [
        one for one in headless_services(snapshot, namespace) if not addresses.isdisjoint(_addresses(snapshot, one))
    ]


def _addresses(snapshot: Snapshot, service: Service) -> Iterator[str]:
    slices = snapshot.slices.get(service.key, {}).values()
    return (endpoint.address for piece in slices for endpoint in piece.endpoints)


def direct_cluster(
    service: Service, port: ServicePort, rule: DestinationRule | None, identities: tuple[str, ...], domain: str
) -> clusters.OutboundCluster:
    """The cluster for the endpoints of a port: over mutual TLS, or as a rule says."""
    policy = rule.policy_of("", port.port) if rule is not None else TrafficPolicy()
    host = service.host(domain)
    return clusters.OutboundCluster(host, port.port, "", port.protocol, policy, identities, direct=True)


def direct_listeners(
    snapshot: Snapshot, found: Iterable[tuple[clusters.OutboundCluster, tuple[endpoints.Backend, ...]]]
) -> Iterator[Recipe]:
    """A listener for each endpoint. One without a proxy is reached as any address is, unless a rule asks for TLS.

    Those of pods come first. An endpoint that is no pod of its Service's namespace is an address that somebody wrote,
    which may be anybody's: at one of a Service that Service's listener stands, and to another namespace's pod nobody
    else's rule has TLS spoken.
    """
    by_hand = []
    for cluster, backends in found:
        for backend in backends:
            if backend.pod is None:
                by_hand.append((cluster, backend))
            else:
                yield _listener(cluster, backend)
    for cluster, backend in by_hand:
        if backend.address in of_services(snapshot.services):
            continue
        if not (cluster.policy.demands_tls and backend.address in of_pods(snapshot.pods)):
            yield _listener(cluster, backend)


def _listener(cluster: clusters.OutboundCluster, backend: endpoints.Backend) -> Recipe:
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
    return Recipe(spec.name, spec, partial(outbound.outbound_listener, spec), closing=spec.plain)


def is_direct(recipe: Recipe) -> bool:
    """Whether a listener is one of these."""
    return isinstance(recipe.inputs, outbound.OutboundListener) and recipe.inputs.direct
