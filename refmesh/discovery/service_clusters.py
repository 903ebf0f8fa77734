"""Which clusters a port of a Service has for its clients: the Service as a whole, and each of its subsets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from refmesh.api.destination_rule import NO_POLICY, DestinationRule, TrafficPolicy
from refmesh.config.model import Key, Protocol, Service, ServicePort, Snapshot
from refmesh.config.references import service_of
from refmesh.discovery import clusters
from refmesh.discovery.accounts import accounts
from refmesh.discovery.settings import MeshSettings

__all__ = ["cluster_specs", "known_identities", "upgraded_ports", "variants"]


def known_identities(snapshot: Snapshot, service: Service, settings: MeshSettings) -> tuple[str, ...]:
    """Who may be behind the Service: what its clients expect of a certificate."""
    return tuple(settings.identity(service.namespace, account) for account in accounts(snapshot, service))


def cluster_specs(
    service: Service,
    port: ServicePort,
    rule: DestinationRule | None,
    identities: tuple[str, ...],
    settings: MeshSettings,
) -> Iterator[tuple[clusters.OutboundCluster, Mapping[str, str]]]:
    """Each cluster with the labels that its endpoints' pods must have."""
    for subset, labels, policy in variants(rule, port.port):
        spec = clusters.OutboundCluster(
            host=service.host(settings.domain),
            port=port.port,
            subset=subset,
            protocol=port.protocol,
            policy=policy,
            identities=identities,
        )
        yield spec, labels


def variants(rule: DestinationRule | None, port: int) -> Iterator[tuple[str, Mapping[str, str], TrafficPolicy]]:
    """A port of the host as a whole, then of each subset: (name, labels, policy)."""
    if rule is None:
        yield "", {}, NO_POLICY
        return
    yield "", {}, rule.policy_of("", port)
    for subset in rule.subsets:
        yield subset.name, subset.labels, rule.policy_of(subset.name, port)


def upgraded_ports(snapshot: Snapshot, rules: Iterable[DestinationRule], domain: str) -> frozenset[tuple[Key, int]]:
    """The ports said to speak HTTP to which requests of some clients go on as HTTP/2, because a rule wants that.

    It holds between proxies: the application is spoken to in HTTP/1.1, as its port says.
    """
    found = set()
    for rule in rules:
        service = snapshot.services.get(service_of(rule.host))
        if service is None or service.host(domain) != rule.host:
            continue
        for port in service.ports:
            pools = (policy.pool for _, _, policy in variants(rule, port.port))
            if port.protocol is Protocol.HTTP and any(pool is not None and pool.upgrade for pool in pools):
                found.add((service.key, port.port))
    return frozenset(found)
