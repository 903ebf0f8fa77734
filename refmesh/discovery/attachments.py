"""Which routes and policies speak about which service, for whose clients, and in what order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.hostnames import covers, specificity
from refmesh.api.routing import Destination, Rule
from refmesh.api.stream_routes import MESH
from refmesh.api.virtual_service import VirtualService
from refmesh.config.delegates import Delegation, delegated
from refmesh.config.model import Key, Service, ServicePort, Snapshot
from refmesh.config.outside import OutsideHost, ambiguous_names, hosts_outside
from refmesh.config.references import service_of
from refmesh.discovery.destination_rules import by_scope
from refmesh.discovery.limits import StreamHandling
from refmesh.discovery.outbound import StreamRoute
from refmesh.discovery.rules import merged_rules, resolved, rule_for, with_targets
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.virtual_hosts import EVERYBODY, by_host, calling

__all__ = ["EVERYBODY", "Attachments", "clients_of"]


@dataclass(frozen=True)
class Attachments:
    """Everything that users attached to services. Scope "" speaks to all clients, a namespace to the clients in it."""

    snapshot: Snapshot
    settings: MeshSettings
    virtual_services: Mapping[str, VirtualService]
    """Those that speak to the sidecars of every namespace, by host: of a wildcard's hosts, those that there are."""
    exported: Mapping[str, Mapping[str, VirtualService]]
    """By namespace and host: those that its sidecars follow instead, because not every namespace knows of them."""
    routes: Mapping[tuple[str, Key], tuple[GatewayRoute, ...]]
    """Routes of Gateway API by scope and Service, GRPCRoutes before HTTPRoutes, each kind the oldest first."""
    destination_rules: Mapping[tuple[str, str], tuple[DestinationRule, ...]]
    """By scope and host: the oldest, merged; where it is private, behind it the oldest that is not, if there is one."""
    delegation: Delegation
    """What became of VirtualServices without hosts."""

    @classmethod
    def collect(cls, snapshot: Snapshot, settings: MeshSettings) -> Attachments:
        """Sort what a snapshot has. Of several objects on the same host the oldest decides."""
        delegation = delegated(snapshot.virtual_services)
        outside = ambiguous_names(snapshot, settings.domain)
        virtual_services = delegation.virtual_services
        if outside:
            virtual_services = {key: calling(item, outside) for key, item in virtual_services.items()}
            called = {key: calling(item, outside) for key, item in delegation.delegates.items()}
            delegation = replace(delegation, delegates=called)
        if virtual_services is not snapshot.virtual_services:
            snapshot = replace(snapshot, virtual_services=virtual_services)
        virtual, exported = by_host(snapshot, settings)
        routes: dict[tuple[str, Key], list[GatewayRoute]] = {}
        of_gateway_api = [*snapshot.grpc_routes.values(), *snapshot.http_routes.values()]
        for route in sorted(of_gateway_api, key=lambda item: (item.meta.kind, *item.meta.age_key)):
            for key in {parent.key for parent in route.parents}:
                routes.setdefault((clients_of(route.meta.namespace, key[0]), key), []).append(route)
        return cls(
            snapshot,
            settings,
            virtual,
            exported,
            {where: tuple(found) for where, found in routes.items()},
            by_scope(snapshot, settings, outside),
            delegation,
        )

    def virtual_service(self, host: str, namespace: str) -> VirtualService | None:
        """The VirtualService that sidecars of a namespace ("": of no particular one) follow for a host."""
        return self.exported.get(namespace, {}).get(host) or self.virtual_services.get(host)

    def virtual_services_of(self, host: str) -> Iterator[VirtualService]:
        """Every VirtualService that some sidecars follow for a host."""
        for table in (self.virtual_services, *self.exported.values()):
            if host in table:
                yield table[host]

    def namespaces_of_their_own(self) -> set[str]:
        """Namespaces whose clients see something that others do not."""
        scopes = {scope for scope, _ in self.routes} | {scope for scope, _ in self.destination_rules}
        routed = {namespace for namespace, _ in self._routed_otherwise}
        return (scopes | routed | self.told_alone.keys()) - {EVERYBODY}

    def special_services(self, namespace: str) -> set[Key]:
        """The services that clients of a namespace see differently."""
        found = {key for scope, key in self.routes if scope == namespace}
        for scope, host in (*self.destination_rules, *self._routed_otherwise):
            if scope == namespace:
                found.add(service_of(host))
        return found.union(self.told_alone.get(namespace, ()))

    @cached_property
    def told_alone(self) -> Mapping[str, tuple[Key, ...]]:
        """By namespace, the services that its clients are told of and not everybody is."""
        found: dict[str, list[Key]] = {}
        for key, service in self.snapshot.services.items():
            for namespace in service.exported & self.snapshot.namespaces.keys():
                found.setdefault(namespace, []).append(key)
        return {namespace: tuple(keys) for namespace, keys in found.items()}

    def services_with_rules(self, namespace: str) -> set[Key]:
        """The services that a DestinationRule speaks about to clients of a namespace alone."""
        return {service_of(host) for host in self._own_rules(namespace)}

    @cached_property
    def _routed_otherwise(self) -> frozenset[tuple[str, str]]:
        """(namespace, host) where a VirtualService speaks about one namespace's clients, or to some namespaces only."""
        asked = ((space, host) for host, item in self.virtual_services.items() for space in item.source_namespaces)
        return frozenset((*asked, *((space, host) for space, table in self.exported.items() for host in table)))

    @cached_property
    def by_client(self) -> tuple[Service, ...]:
        """Services whose VirtualService tells clients apart by their labels."""
        tables = (self.virtual_services, *self.exported.values())
        hosts = sorted({host for table in tables for host, item in table.items() if item.by_labels})
        found = (self.snapshot.services.get(service_of(host)) for host in hosts)
        return tuple(service for service in found if service is not None)

    @cached_property
    def outside(self) -> tuple[OutsideHost, ...]:
        """The hosts of ServiceEntries."""
        return tuple(hosts_outside(self.snapshot))

    @cached_property
    def outside_by_client(self) -> Mapping[str, frozenset[str]]:
        """The names of those whose VirtualService tells clients apart by their labels, and the labels it asks for."""
        # A VirtualService for a wildcard may speak for many hosts.
        asked = {item.meta: item.asked_labels for item in self.snapshot.virtual_services.values()}
        found: dict[str, frozenset[str]] = {}
        for one in self.outside:
            labels = frozenset[str]().union(*(asked[item.meta] for item in self.virtual_services_of(one.name)))
            if labels:
                found[one.name] = labels
        return found

    def outside_ruled(self, namespace: str) -> frozenset[str]:
        """The names of those for which clients of a namespace have another DestinationRule than others."""
        exact, wider = self._own_rules(namespace), self._wildcards.get(namespace, ())
        return frozenset(
            one.name
            for one in self.outside
            if (one.name in exact or any(covers(name, one.name) for name in wider))
            and self.rule_of_host(one.name, namespace) is not self.rule_of_host(one.name, "")
        )

    def outside_seen_otherwise(self, namespace: str) -> frozenset[str]:
        """The names of those whose routes or handling may be others for clients of a namespace."""
        ruled = self.outside_ruled(namespace)
        # A connection is handled as the rule of the destination says that its route leads to.
        led = (self._outside_led_to.get(target, ()) for target in ruled | self._own_rules(namespace))
        asked = (host for scope, host in self._routed_otherwise if scope == namespace)
        return ruled.union(*led, (host for host in asked if host in self.outside_by_name))

    @cached_property
    def _outside_led_to(self) -> Mapping[str, set[str]]:
        """By destination, the names of the hosts outside from which tcp and tls routes lead there."""
        found: dict[str, set[str]] = {}
        for name in self.outside_by_name:
            for rule in (rule for item in self.virtual_services_of(name) for rule in item.streams):
                for target in rule.destinations:
                    found.setdefault(target.host, set()).add(name)
        return found

    def _own_rules(self, namespace: str) -> frozenset[str]:
        """The hosts of the rules that speak to clients of a namespace alone."""
        return frozenset(host for scope, host in self.destination_rules if scope == namespace)

    @property
    def tells_clients_apart(self) -> bool:
        """Whether any route is for pods with some labels only."""
        return bool(self.by_client) or bool(self.outside_by_client)

    @cached_property
    def by_age(self) -> tuple[VirtualService, ...]:
        """The VirtualServices, the oldest first."""
        return tuple(sorted(self.snapshot.virtual_services.values(), key=lambda item: item.meta.age_key))

    @cached_property
    def outside_by_name(self) -> Mapping[str, tuple[OutsideHost, ...]]:
        """The hosts of ServiceEntries by their names; one may have several ports."""
        found: dict[str, list[OutsideHost]] = {}
        for one in self.outside:
            found.setdefault(one.name, []).append(one)
        return {name: tuple(hosts) for name, hosts in found.items()}

    def streams(
        self, host: str, port: int, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[StreamRoute, ...]:
        """The tcp and tls routes for connections to a port of a host, of such clients' sidecars."""
        virtual = self.virtual_service(host, namespace)
        found: list[StreamRoute] = []
        for rule in virtual.streams if virtual is not None else ():
            targets = tuple(self.with_port(item, port) for item in rule.destinations)
            # One filter for all of them: as in Istio it has the times and the hash of the first.
            policy = self.policy_of(next(item for item in targets if item.weight), port, namespace)
            handling = StreamHandling.of(policy)
            found.extend(
                StreamRoute(names, targets, rule.tls, subnets, handling)
                for names, subnets in rule.conditions(MESH, port, namespace, labels)
            )
        return tuple(found)

    def policy_of(self, target: Destination, port: int, namespace: str) -> TrafficPolicy:
        """What holds for the connections of a namespace's clients to a destination; `port` where it names none."""
        rule = self.rule_of_host(target.host, namespace)
        return rule.policy_of(target.subset, target.port or port) if rule is not None else TrafficPolicy()

    def destination_rule(self, service: Service, namespace: str) -> DestinationRule | None:
        """The rule in force for clients of a namespace: their own, else the one that speaks to all."""
        return self.rule_of_host(service.host(self.settings.domain), namespace)

    def rule_of_host(self, host: str, namespace: str) -> DestinationRule | None:
        """The same for a host by its full name: a Service's, or one of a ServiceEntry.

        Beside the entry a rule speaks to everybody, like one beside a Service, and the root namespace's stands behind
        it whomever that is for. A rule may be for a wildcard that covers the host; the closest name counts.
        """
        outside, root = self.outside_by_name.get(host), self.settings.root_namespace
        beside = outside[0].entry.meta.namespace if outside else ""
        lent: DestinationRule | None = None
        for scope in (scope for scope in dict.fromkeys((namespace, beside)) if scope):
            for rule in self._rules_for(host, scope, wildcards=bool(outside)):
                if scope != namespace:
                    if not rule.private:
                        return rule
                elif beside and rule.meta.namespace == root and root not in {scope, beside}:
                    lent = lent or rule
                else:
                    return rule
        return lent or next(self._rules_for(host, EVERYBODY, wildcards=bool(outside)), None)

    def _rules_for(self, host: str, scope: str, *, wildcards: bool) -> Iterator[DestinationRule]:
        """The rules of a scope for a host, and for the wildcards that cover it, the closest first."""
        wider = self._wildcards.get(scope, ()) if wildcards else ()
        for name in (host, *(name for name in wider if covers(name, host))):
            yield from self.destination_rules.get((scope, name), ())

    @cached_property
    def _wildcards(self) -> Mapping[str, tuple[str, ...]]:
        """The hosts of rules for wildcards by scope, the closest first."""
        found: dict[str, list[str]] = {}
        for scope, host in self.destination_rules:
            if host.startswith("*"):
                found.setdefault(scope, []).append(host)
        return {scope: tuple(sorted(hosts, key=specificity)) for scope, hosts in found.items()}

    def attached(self, service: Service, port: ServicePort, scope: str) -> list[GatewayRoute]:
        """The routes of Gateway API that a scope has for a service port, in their order."""
        return [
            route
            for route in self.routes.get((scope, service.key), ())
            if any(parent.key == service.key and parent.port in {None, port.port} for parent in route.parents)
        ]

    def rules(
        self, service: Service, port: ServicePort, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[Rule, ...] | None:
        """The routing rules for a service port: consumer's routes, producer's, VirtualService; None without any.

        Where GRPCRoutes and HTTPRoutes are attached to the same port, the GRPCRoutes decide alone. `labels` are the
        client pod's; without any, matches that ask for some do not hold.
        """
        for scope in dict.fromkeys((namespace, EVERYBODY)):
            if attached := self.attached(service, port, scope):
                kind = attached[0].meta.kind
                return tuple(
                    merged_rules([resolved(self.snapshot, route) for route in attached if route.meta.kind == kind])
                )
        return self.host_rules(service.host(self.settings.domain), port.port, namespace, labels)

    def host_rules(
        self, host: str, port: int, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[Rule, ...] | None:
        """The rules of the VirtualService for a host that such clients have at a port; None where there is none.

        What speaks of other clients or ports only changes nothing for these, as in Istio.
        """
        virtual = self.virtual_service(host, namespace)
        if virtual is None:
            return None
        held = (rule_for(rule, port, namespace, labels or {}) for rule in virtual.rules_for(MESH))
        return tuple(self.with_ports(rule, port) for rule in held if rule is not None) or None

    def with_ports(self, rule: Rule, port: int) -> Rule:
        """A VirtualService may leave out the port of a service that has only one; else that of the request holds."""
        return with_targets(rule, lambda item: self.with_port(item, port))

    def with_port(self, destination: Destination, port: int) -> Destination:
        """The same for one destination."""
        if destination.port is not None:
            return destination
        service = self.snapshot.services.get(service_of(destination.host))
        numbers = [one.port.number for one in self.outside_by_name.get(destination.host, ())]
        if service is not None and not numbers:
            numbers = [one.port for one in service.ports]
        return replace(destination, port=numbers[0] if len(numbers) == 1 else port)


def clients_of(route_namespace: str, service_namespace: str) -> str:
    """Whose requests a route speaks about: beside its Service everybody's, elsewhere those of its own namespace."""
    return EVERYBODY if route_namespace == service_namespace else route_namespace
