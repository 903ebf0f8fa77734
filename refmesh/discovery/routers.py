"""What the proxies of gateways get beside the clusters and endpoints that all share: listeners, routes, certificates.

A pod is a Gateway's by the label that its Deployment gave it and by its service account, and a stream is that pod's by
its certificate; so the keys of a Gateway's certificates reach nobody who could not read them anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from refmesh.api.authorization_policy import AuthorizationPolicy
from refmesh.api.conditions import Attribute, Condition
from refmesh.api.gateway import Gateway
from refmesh.config.ingress import OpenGateway, open_gateway, own_gateways
from refmesh.config.model import Key, Pod, Snapshot
from refmesh.config.references import service_of
from refmesh.discovery import clusters, doors, gateways, hashing, tls
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.authorization import Authorization
from refmesh.discovery.classic import classic_ports
from refmesh.discovery.guards import Guard
from refmesh.discovery.memory import Tables
from refmesh.discovery.observation import Observation
from refmesh.discovery.resource import Encoded, ResourceType, encode
from refmesh.discovery.service_clusters import cluster_specs, known_identities
from refmesh.discovery.settings import MeshSettings
from refmesh.ingress.names import GATEWAY_LABEL, bound_port, label_value, workload_name

__all__ = ["Routers", "gateway_of"]


def gateway_of(snapshot: Snapshot, pod: Pod) -> Gateway | None:
    """The Gateway whose proxy a pod is."""
    return next(
        (
            gateway
            for gateway in own_gateways(snapshot)
            if gateway.meta.namespace == pod.namespace
            and label_value(gateway) == pod.labels.get(GATEWAY_LABEL)
            and workload_name(gateway) == pod.service_account
        ),
        None,
    )


class Routers:
    """Makes the resources of each gateway, and remembers what did not change."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._made: dict[tuple[Key, ResourceType, str], tuple[Any, Encoded]] = {}

    def forget_gone(self, snapshot: Snapshot) -> None:
        """Drop what was made for gateways without pods: their private keys, too."""
        owners = {_owner(gateway_of(snapshot, pod), pod) for pod in snapshot.pods.values() if pod.router}
        for where in [key for key in self._made if key[0] not in owners]:
            del self._made[where]

    def of(self, attachments: Attachments, pod: Pod, observed: Observation, guard: Guard) -> Tables:
        """All that the gateway of a pod has for itself. `guard`: the policies that speak for the pod."""
        snapshot = attachments.snapshot
        gateway = gateway_of(snapshot, pod)
        calls = set[tuple[str, int]]()
        if gateway is not None:
            opened = open_gateway(snapshot, gateway)
            ports, calls = gateways.ports_of(snapshot, opened), _grpc_targets(opened)
        else:
            ports = classic_ports(attachments, pod)
        owner = _owner(gateway, pod)
        keys = hashing.keys(attachments, pod.namespace)
        guard = _at_bound_ports(guard)
        found: dict[ResourceType, dict[str, Encoded]] = {kind: {} for kind in ResourceType}

        def add(kind: ResourceType, name: str, inputs: Any, make: Callable[[], Any]) -> None:
            known = self._made.get((owner, kind, name))
            if known is None or known[0] != inputs:
                result = encode(kind, name, make())
                same = known is not None and known[1].version == result.version
                known = (inputs, known[1] if known is not None and same else result)
                self._made[owner, kind, name] = known
            found[kind][name] = known[1]

        for port in ports:
            # Its routes are resources of their own: a new one does not touch the listener.
            shape = replace(port, chains=tuple(replace(chain, sites=()) for chain in port.chains))
            make = partial(doors.gateway_listener, shape, guard, self._settings.observing(observed))
            add(ResourceType.LISTENER, port.name, (shape, guard, observed), make)
            for chain in (chain for chain in port.chains if chain.shares is None):
                add(
                    ResourceType.ROUTE,
                    chain.name,
                    (chain, keys, guard),
                    partial(doors.gateway_routes, chain, keys, guard, self._settings.trust_domain),
                )
        named = {name for port in ports for chain in port.chains for name in (*chain.secrets, chain.roots)}
        for key, held in snapshot.certificates.items():
            if (name := doors.secret_name(key)) in named:
                add(ResourceType.SECRET, name, held, partial(tls.secret, name, held.chain, held.key))
            if (name := doors.roots_name(key)) in named:
                add(ResourceType.SECRET, name, held.roots, partial(tls.roots_secret, name, held.roots))
        for spec in self._clusters(attachments, pod.namespace, _targets(ports) - calls):
            add(ResourceType.CLUSTER, spec.name, spec, partial(clusters.outbound_cluster, spec, self._settings))
        self._forget(owner, found)
        return MappingProxyType({kind: MappingProxyType(table) for kind, table in found.items()})

    def _forget(self, owner: Key, found: dict[ResourceType, dict[str, Encoded]]) -> None:
        for where in [key for key in self._made if key[0] == owner and key[2] not in found[key[1]]]:
            del self._made[where]

    def _clusters(
        self, attachments: Attachments, namespace: str, targets: set[tuple[str, int]]
    ) -> list[clusters.OutboundCluster]:
        """The clusters that HTTP requests are sent to, as the gateway needs them: they stand before the shared ones."""
        snapshot, found = attachments.snapshot, list[clusters.OutboundCluster]()
        for host, number in sorted(targets):
            service = snapshot.services.get(service_of(host))
            port = service.port(number) if service is not None else None
            if service is None or port is None or port.protocol.is_http2 or not service.told(namespace):
                continue
            rule = attachments.destination_rule(service, namespace)
            identities = known_identities(snapshot, service, self._settings)
            specs = cluster_specs(service, port, rule, identities, self._settings)
            found.extend(replace(spec, http1=True) for spec, _ in specs)
        return found


def _owner(gateway: Gateway | None, pod: Pod) -> Key:
    """Whose resources those of a pod are: pods of one gateway share them."""
    if gateway is not None:
        return (gateway.meta.namespace, gateway.meta.name)
    return (pod.namespace, f"{pod.service_account} {sorted(pod.labels.items())}")


def _at_bound_ports(guard: Guard) -> Guard:
    """The guard, asking for the ports that the proxy opens where policies name those of the gateway's Service."""

    def bound(group: tuple[Condition, ...]) -> tuple[Condition, ...]:
        return tuple(
            replace(item, any_of=_bound(item.any_of), none_of=_bound(item.none_of))
            if item.attribute is Attribute.PORT
            else item
            for item in group
        )

    def changed(policies: tuple[AuthorizationPolicy, ...]) -> tuple[AuthorizationPolicy, ...]:
        return tuple(
            replace(
                policy,
                rules=tuple(
                    replace(rule, operations=tuple(map(bound, rule.operations)), when=bound(rule.when))
                    for rule in policy.rules
                ),
            )
            for policy in policies
        )

    asked = guard.authorization
    found = Authorization(changed(asked.deny), changed(asked.allow), changed(asked.audit))
    return replace(guard, authorization=found)


def _bound(ports: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(bound_port(int(port))) for port in ports)


def _grpc_targets(opened: OpenGateway) -> set[tuple[str, int]]:
    """Where gRPC calls go: as HTTP/2, whatever the port is said to speak."""
    return {
        (target.host, target.port)
        for door in opened.doors
        for attached in door.routes
        for rule in attached.route.rules
        for target in rule.destinations
        if attached.route.meta.kind == "GRPCRoute" and target.port is not None
    }


def _targets(ports: Iterable[doors.GatewayPort]) -> set[tuple[str, int]]:
    """Host and port of every destination."""
    rules = [rule for port in ports for chain in port.chains for site in chain.sites for rule in site.rules]
    return {
        (target.host, target.port)
        for rule in rules
        for target in (*rule.destinations, *(mirror.destination for mirror in rule.mirrors))
        if target.port is not None and not target.invalid
    }
