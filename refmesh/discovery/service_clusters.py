"""Which clusters a port of a Service has for its clients: the Service as a whole, and each of its subsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.config.model import Service, ServicePort, Snapshot
from refmesh.discovery import clusters, endpoints
from refmesh.discovery.settings import MeshSettings

__all__ = ["cluster_specs", "known_identities"]

_NO_POLICY = TrafficPolicy()


def known_identities(snapshot: Snapshot, service: Service, settings: MeshSettings) -> tuple[str, ...]:
    """Who may be behind the Service: what its clients expect of a certificate."""
    accounts = endpoints.identities(snapshot, service)
    return tuple(settings.identity(service.namespace, account) for account in accounts)


def cluster_specs(
    service: Service,
    port: ServicePort,
    rule: DestinationRule | None,
    identities: tuple[str, ...],
    settings: MeshSettings,
) -> Iterator[tuple[clusters.OutboundCluster, Mapping[str, str]]]:
    """Each cluster with the labels that its endpoints' pods must have."""
    for subset, labels, policy in _variants(rule):
        spec = clusters.OutboundCluster(
            host=service.host(settings.domain),
            port=port.port,
            subset=subset,
            protocol=port.protocol,
            policy=policy.for_port(port.port),
            identities=identities,
        )
        yield spec, labels


def _variants(rule: DestinationRule | None) -> Iterator[tuple[str, Mapping[str, str], TrafficPolicy]]:
    """The service as a whole, then each subset: (name, labels, policy)."""
    if rule is None:
        yield "", {}, _NO_POLICY
        return
    yield "", {}, rule.policy
    for subset in rule.subsets:
        yield subset.name, subset.labels, subset.policy.over(rule.policy)
