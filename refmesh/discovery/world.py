"""From a snapshot to everything that proxies can be sent.

A `Generator` remembers what each resource was made from; what did not change is neither built nor encoded again, and
all proxies share the same bytes. A `World` is the result for one snapshot: tables shared by all proxies, tables for
namespaces with routes or policies of their own, and the few resources that belong to single pods.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.routing import Rule
from refmesh.config.model import Key, Pod, Protocol, Service, ServicePort, Snapshot
from refmesh.discovery import (
    clusters,
    direct,
    endpoints,
    external_clusters,
    hashing,
    inbound,
    locality,
    names,
    outbound,
    routes,
    service_listeners,
    tracing,
)
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.authorization import AuthorizationPolicies
from refmesh.discovery.guards import Guard
from refmesh.discovery.jwt import TokenRules
from refmesh.discovery.memory import Found, Memory, Tables
from refmesh.discovery.observation import TelemetryPolicies
from refmesh.discovery.outside_world import OutsideWorld
from refmesh.discovery.overlay import Draft
from refmesh.discovery.own_outbound import OwnOutbound
from refmesh.discovery.policy import MtlsPolicies
from refmesh.discovery.resource import Encoded, ResourceType, Table, encode
from refmesh.discovery.routers import Routers
from refmesh.discovery.service_clusters import cluster_specs, known_identities, upgraded_ports
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.variants import ListenerVariants, Recipe
from refmesh.discovery.views import Views
from refmesh.telemetry import metrics

__all__ = ["Generator", "Tables", "World"]

_OF_ROUTERS = (ResourceType.CLUSTER, ResourceType.ENDPOINT)


@dataclass(frozen=True)
class World:
    """All resources for one snapshot."""

    version: int
    snapshot: Snapshot
    shared: Tables
    by_namespace: Mapping[str, Tables]
    policies: MtlsPolicies
    attachments: Attachments = field(repr=False)
    created: float
    own: Callable[[Pod], Tables] = field(repr=False)
    """The resources of one pod's proxy alone: its inbound listener and clusters."""
    outbound: Callable[[Pod], Table | None] = field(repr=False)
    """The outbound listeners of a pod for which Telemetry or Sidecar wants others than for most; None for most."""
    endpoints: Callable[[Pod], Table | None] = field(repr=False)
    """The endpoints as they are seen from where a pod is; None where they look the same from everywhere."""

    def tables(self, namespace: str) -> Tables:
        """What sidecars in a namespace share."""
        return self.by_namespace.get(namespace, self.shared)

    def tables_of(self, pod: Pod) -> Tables:
        """What the proxy of a pod shares with others. A gateway's listeners and routes are its own, all of them."""
        tables = self.tables(pod.namespace)
        if (seen := self.endpoints(pod)) is not None:
            tables = MappingProxyType({**tables, ResourceType.ENDPOINT: seen})
        if pod.router:
            return {kind: tables[kind] for kind in _OF_ROUTERS}
        listeners = self.outbound(pod)
        return tables if listeners is None else MappingProxyType({**tables, ResourceType.LISTENER: listeners})


class Generator:
    """Builds worlds one after the other, reusing what did not change."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._memory = Memory()
        self._keys: hashing.Keys = ()
        self._clusters_of: Mapping[tuple[int, str], Sequence[str]] = {}
        self._inbound: dict[inbound.Inbound, Tables] = {}
        self._own_outbound = OwnOutbound(settings)
        self._routers = Routers(settings)
        self._own_inputs: tuple[Mapping[Any, Any], ...] = ()
        self._own_known: dict[Key, tuple[Pod, Tables]] = {}
        self._variants = ListenerVariants(settings, self._memory)
        self._views = Views()
        self._outside = OutsideWorld(settings, self._memory, self._variants, self._views)

    def build(self, snapshot: Snapshot) -> World:
        """The world for a snapshot."""
        started = time.monotonic()
        attachments = Attachments.collect(snapshot, self._settings)
        policies = MtlsPolicies.collect(snapshot.peer_authentications.values(), self._settings.root_namespace)
        authorization = AuthorizationPolicies.collect(
            snapshot.authorization_policies.values(), self._settings.root_namespace
        )
        tokens = TokenRules.collect(snapshot, self._settings.root_namespace)
        self._memory.begin()
        self._variants.begin()
        self._views.begin()
        telemetry = TelemetryPolicies.collect(
            snapshot.telemetries.values(), self._settings.root_namespace, self._settings.observation
        )
        self._keys = hashing.keys(attachments, "")
        shared = self._shared(snapshot, attachments, policies)
        self._clusters_of = names.outbound_clusters(shared[ResourceType.CLUSTER])
        special = {
            namespace: self._special(namespace, snapshot, attachments, policies, shared)
            for namespace in sorted(attachments.namespaces_of_their_own())
        }
        self._memory.forget_unused()
        self._routers.forget_gone(snapshot)
        metrics.GENERATE_SECONDS.observe(time.monotonic() - started)
        return World(
            version=snapshot.version,
            snapshot=snapshot,
            shared=shared,
            by_namespace=special,
            policies=policies,
            attachments=attachments,
            created=started,
            own=self._owner(snapshot, policies, authorization, tokens, telemetry, attachments),
            outbound=self._variants.finder(snapshot, telemetry),
            endpoints=self._views.finder(snapshot, shared, special),
        )

    def _owner(
        self,
        snapshot: Snapshot,
        policies: MtlsPolicies,
        authorization: AuthorizationPolicies,
        tokens: TokenRules,
        telemetry: TelemetryPolicies,
        attachments: Attachments,
    ) -> Callable[[Pod], Tables]:
        """Remembers each sidecar's own resources across the worlds that differ in endpoints only, which most do."""
        inputs = snapshot.without_endpoints
        if len(inputs) != len(self._own_inputs) or any(
            one is not other for one, other in zip(inputs, self._own_inputs, strict=True)
        ):
            self._own_inputs, self._own_known = inputs, {}
        remembered = self._own_known
        settings_of = self._variants.settings_finder(snapshot, telemetry)
        rules = chain.from_iterable(attachments.destination_rules.values())
        upgraded = upgraded_ports(snapshot, rules, self._settings.domain)

        def own(pod: Pod) -> Tables:
            if pod.router:
                # Its clusters depend on who is behind the endpoints. It remembers each resource by itself.
                guard = Guard(authorization.of(pod, snapshot), tokens.of(pod, snapshot))
                return self._routers.of(attachments, pod, telemetry.client(pod, snapshot), guard)
            known = remembered.get(pod.key)
            if known is not None and known[0] is pod:
                return known[1]
            if len(remembered) > 1000 + 2 * len(snapshot.pods):
                remembered.clear()  # mostly pods that are gone
            spec = inbound.inbound_of(
                snapshot,
                policies,
                pod,
                authorization.of(pod, snapshot),
                tokens.of(pod, snapshot),
                observed=telemetry.server(pod, snapshot),
                domain=self._settings.domain,
                upgraded=upgraded,
            )
            found = self._own(spec)
            if attachments.tells_clients_apart:
                for kind, table in self._own_outbound.of(attachments, pod, settings_of(pod)).items():
                    found = MappingProxyType({**found, kind: MappingProxyType({**found.get(kind, {}), **table})})
            remembered[pod.key] = (pod, found)
            return found

        return own

    # --------------------------------------------------------------------------------------------------------- shared
    def _shared(self, snapshot: Snapshot, attachments: Attachments, policies: MtlsPolicies) -> Tables:
        found: dict[ResourceType, dict[str, Encoded]] = {kind: {} for kind in ResourceType}
        listeners = found[ResourceType.LISTENER]
        for name, make in clusters.STATIC_CLUSTERS.items():
            build = partial(make, self._settings)
            found[ResourceType.CLUSTER][name] = self._memory.encoded(ResourceType.CLUSTER, name, "", None, build)
        if self._settings.trace_collector is not None:
            make = partial(tracing.collector_cluster, *self._settings.trace_collector)
            found[ResourceType.CLUSTER][tracing.COLLECTOR] = self._memory.encoded(
                ResourceType.CLUSTER, tracing.COLLECTOR, "", None, make
            )
        capture = outbound.CAPTURE_LISTENER
        self._variants.put(listeners, Recipe(capture, None, outbound.capture_listener))
        for service in (one for _, one in sorted(snapshot.services.items()) if one.told("")):
            identities = known_identities(snapshot, service, self._settings)
            for port in service.ports:
                rule = attachments.destination_rule(service, "")
                for recipe in service_listeners.recipes(attachments, service, port):
                    self._variants.put(listeners, recipe)
                self._add_clusters(found, snapshot, policies, service, port, rule, identities, "")
                self._add_route(found, service, port, attachments.rules(service, port, ""), "")
        self._add_direct(found, attachments, policies, direct.headless_services(snapshot), "")
        self._outside.add_shared(found, attachments, self._keys)
        return self._memory.published("", found)

    def _special(
        self, namespace: str, snapshot: Snapshot, attachments: Attachments, policies: MtlsPolicies, shared: Tables
    ) -> Tables:
        found = {kind: Draft(table) for kind, table in shared.items()}
        self._keys = hashing.keys(attachments, namespace)
        self._views.begin(namespace)
        for key in attachments.special_services(namespace):
            service = snapshot.services.get(key)
            if service is None or not service.told(namespace):
                continue
            identities, everybodys = known_identities(snapshot, service, self._settings), service.told("")
            for port in service.ports:
                rule = attachments.destination_rule(service, namespace)
                self._take_out(found, service.host(self._settings.domain), port.port, namespace)
                for recipe in service_listeners.recipes(attachments, service, port, namespace):
                    if not everybodys or self._variants.differs(recipe):
                        self._variants.put(found[ResourceType.LISTENER], recipe, namespace)
                self._add_clusters(found, snapshot, policies, service, port, rule, identities, namespace)
                self._add_route(found, service, port, attachments.rules(service, port, namespace), namespace)
        asked = attachments.services_with_rules(namespace).union(attachments.told_alone.get(namespace, ()))
        sharing = direct.sharing_addresses(snapshot, asked, namespace)
        self._add_direct(found, attachments, policies, sharing, namespace)
        for one in external_clusters.special(attachments, namespace):
            self._take_out(found, one.name, one.port.number, namespace)
        self._outside.add_special(found, attachments, self._keys, namespace)
        return self._memory.laid(namespace, found)

    def _take_out(self, found: Found, host: str, port: int, namespace: str) -> None:
        """Of a namespace's tables the clusters that everybody has for a port of a host: it gets others."""
        for name in self._clusters_of.get((port, host), ()):
            found[ResourceType.CLUSTER].pop(name, None)
            found[ResourceType.ENDPOINT].pop(name, None)
            self._views.put(namespace, name, None)

    def _add_direct(
        self,
        found: Found,
        attachments: Attachments,
        policies: MtlsPolicies,
        services: Iterable[Service],
        scope: str,
    ) -> None:
        snapshot, reached = attachments.snapshot, []
        for service in services:
            identities = known_identities(snapshot, service, self._settings)
            for port in service.ports:
                rule = attachments.destination_rule(service, scope)
                cluster = direct.direct_cluster(service, port, rule, identities, self._settings.domain)
                make = partial(clusters.outbound_cluster, cluster, self._settings)
                found[ResourceType.CLUSTER][cluster.name] = self._memory.encoded(
                    ResourceType.CLUSTER, cluster.name, scope, cluster, make
                )
                # The client has chosen the address, and may have been there for long: whether its pod is ready is for
                # those to know who have not, which they do from DNS.
                reached.append((cluster, endpoints.backends(snapshot, policies, service, port, unready=True)))
        for recipe in direct.direct_listeners(snapshot, reached):
            # What a ServiceEntry says of an address stands above a listener that only lets it be reached.
            everybodys = self._variants.shared().get(recipe.name)
            if scope and recipe.closing and everybodys is not None and not direct.is_direct(everybodys):
                continue
            self._variants.put(found[ResourceType.LISTENER], recipe, scope)

    def _add_clusters(
        self,
        found: Found,
        snapshot: Snapshot,
        policies: MtlsPolicies,
        service: Service,
        port: ServicePort,
        rule: DestinationRule | None,
        identities: tuple[str, ...],
        scope: str,
    ) -> None:
        backends = endpoints.backends(snapshot, policies, service, port)
        for spec, labels in cluster_specs(service, port, rule, identities, self._settings):
            name = spec.name
            found[ResourceType.CLUSTER][name] = self._memory.encoded(
                ResourceType.CLUSTER,
                name,
                scope,
                spec,
                partial(clusters.outbound_cluster, spec, self._settings),
            )
            chosen = [one for one in backends if not labels or endpoints.in_subset(one, labels)]
            plan = locality.plan_of(spec.policy, snapshot, chosen, service)
            self._views.put(scope, name, plan)
            addresses = tuple(one.listed for one in chosen)
            make = partial(endpoints.assignment, name, addresses)
            if plan is not None:
                make = partial(locality.assignment, name, plan, locality.NOWHERE)
            found[ResourceType.ENDPOINT][name] = self._memory.encoded(
                ResourceType.ENDPOINT, name, scope, plan or addresses, make
            )

    def _add_route(
        self,
        found: Found,
        service: Service,
        port: ServicePort,
        rules: tuple[Rule, ...] | None,
        scope: str,
    ) -> None:
        if port.protocol is Protocol.TCP:
            return
        spec = routes.RouteSpec(service.host(self._settings.domain), port.port, rules)
        name = names.route_name(spec.host, spec.port)
        found[ResourceType.ROUTE][name] = self._memory.encoded(
            ResourceType.ROUTE,
            name,
            scope,
            (spec, self._keys),
            partial(hashing.hashed_routes, spec, self._keys),
        )

    # ------------------------------------------------------------------------------------------------------------ own
    def _own(self, spec: inbound.Inbound) -> Tables:
        known = self._inbound.get(spec)
        if known is not None:
            return known
        listener = encode(
            ResourceType.LISTENER, inbound.INBOUND_LISTENER, inbound.inbound_listener(spec, self._settings)
        )
        own_clusters = {}
        for port in spec.ports:
            name = names.inbound_cluster(port.number)
            own_clusters[name] = encode(
                ResourceType.CLUSTER,
                name,
                clusters.inbound_cluster(name, self._settings, http1=port.http1, protocol=port.protocol),
            )
        own_routes = {
            name: encode(ResourceType.ROUTE, name, table)
            for name, table in inbound.inbound_routes(spec, self._settings).items()
        }
        found = MappingProxyType(
            {
                ResourceType.LISTENER: MappingProxyType({listener.name: listener}),
                ResourceType.CLUSTER: MappingProxyType(own_clusters),
                ResourceType.ROUTE: MappingProxyType(own_routes),
            }
        )
        if len(self._inbound) > 1000:
            self._inbound.clear()
        self._inbound[spec] = found
        return found
