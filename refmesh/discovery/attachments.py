"""Which routes and policies speak about which service, for whose clients, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.meta import short_host
from refmesh.api.routing import Destination, Match, Rule
from refmesh.api.stream_routes import MESH
from refmesh.api.virtual_service import VirtualService
from refmesh.config.model import Key, Service, ServicePort, Snapshot
from refmesh.config.references import backend_problem, service_of
from refmesh.discovery.outbound import StreamRoute
from refmesh.discovery.settings import MeshSettings

__all__ = ["EVERYBODY", "Attachments", "clients_of", "host_rules", "merged_rules", "resolved"]

EVERYBODY = ""


@dataclass(frozen=True)
class Attachments:
    """Everything that users attached to services. Scope "" speaks to all clients, a namespace to the clients in it."""

    snapshot: Snapshot
    settings: MeshSettings
    virtual_services: Mapping[str, VirtualService]
    """Those that speak to sidecars, by host."""
    routes: Mapping[tuple[str, Key], tuple[GatewayRoute, ...]]
    """Routes of Gateway API by scope and Service, GRPCRoutes before HTTPRoutes, each kind the oldest first."""
    destination_rules: Mapping[tuple[str, str], DestinationRule]

    @classmethod
    def collect(cls, snapshot: Snapshot, settings: MeshSettings) -> Attachments:
        """Sort what a snapshot has. Of several objects on the same host the oldest decides."""
        outside = _outside_names(snapshot, settings.domain)
        if outside:
            called = {key: _calling(item, outside) for key, item in snapshot.virtual_services.items()}
            snapshot = replace(snapshot, virtual_services=called)
        virtual: dict[str, VirtualService] = {}
        for item in sorted(snapshot.virtual_services.values(), key=lambda item: item.meta.age_key):
            for host in item.hosts if MESH in item.gateways else ():
                virtual.setdefault(host, item)
        routes: dict[tuple[str, Key], list[GatewayRoute]] = {}
        of_gateway_api = [*snapshot.grpc_routes.values(), *snapshot.http_routes.values()]
        for route in sorted(of_gateway_api, key=lambda item: (item.meta.kind, *item.meta.age_key)):
            for key in {parent.key for parent in route.parents}:
                routes.setdefault((clients_of(route.meta.namespace, key[0]), key), []).append(route)
        return cls(
            snapshot,
            settings,
            virtual,
            {where: tuple(found) for where, found in routes.items()},
            _destination_rules(snapshot, settings, outside),
        )

    def namespaces_of_their_own(self) -> set[str]:
        """Namespaces whose clients see something that others do not."""
        scopes = {scope for scope, _ in self.routes} | {scope for scope, _ in self.destination_rules}
        return (scopes | {namespace for namespace, _ in self._source_namespaces}) - {EVERYBODY}

    def special_services(self, namespace: str) -> set[Key]:
        """The services that clients of a namespace see differently."""
        found = {key for scope, key in self.routes if scope == namespace}
        for scope, host in (*self.destination_rules, *self._source_namespaces):
            if scope == namespace:
                found.add(service_of(host))
        return found

    def services_with_rules(self, namespace: str) -> set[Key]:
        """The services that a DestinationRule speaks about to clients of a namespace alone."""
        return {service_of(host) for scope, host in self.destination_rules if scope == namespace}

    @cached_property
    def _source_namespaces(self) -> frozenset[tuple[str, str]]:
        """(namespace, host) where a VirtualService speaks about clients of one namespace."""
        return frozenset(
            (match.source_namespace, host)
            for host, item in self.virtual_services.items()
            for rule in item.rules
            for match in rule.matches
            if match.source_namespace
        )

    @cached_property
    def by_client(self) -> tuple[Service, ...]:
        """Services whose VirtualService tells clients apart by their labels."""
        hosts = [
            host
            for host, item in sorted(self.virtual_services.items())
            if any(match.source_labels for rule in item.rules for match in rule.matches)
        ]
        found = (self.snapshot.services.get(service_of(host)) for host in hosts)
        return tuple(service for service in found if service is not None)

    def streams(self, service: Service, port: ServicePort) -> tuple[StreamRoute, ...]:
        """The tcp and tls routes for connections to a service port, of sidecars."""
        virtual = self.virtual_services.get(service.host(self.settings.domain))
        if virtual is None:
            return ()
        return tuple(
            StreamRoute(server_names, tuple(self.with_port(item, port.port) for item in rule.destinations), rule.tls)
            for rule in virtual.streams
            if (server_names := rule.server_names(MESH, port.port)) is not None
        )

    def destination_rule(self, service: Service, namespace: str) -> DestinationRule | None:
        """The rule in force for clients of a namespace: their own, else the one that speaks to all."""
        host = service.host(self.settings.domain)
        own = self.destination_rules.get((namespace, host))
        return own if own is not None else self.destination_rules.get((EVERYBODY, host))

    def rules(
        self, service: Service, port: ServicePort, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[Rule, ...] | None:
        """The routing rules for a service port: consumer's routes, producer's, VirtualService; None without any.

        Where GRPCRoutes and HTTPRoutes are attached to the same port, the GRPCRoutes decide alone. `labels` are the
        client pod's; without any, matches that ask for some do not hold.
        """
        for scope in dict.fromkeys((namespace, EVERYBODY)):
            attached = [
                route
                for route in self.routes.get((scope, service.key), ())
                if any(parent.key == service.key and parent.port in {None, port.port} for parent in route.parents)
            ]
            if attached:
                kind = attached[0].meta.kind
                return tuple(
                    merged_rules([resolved(self.snapshot, route) for route in attached if route.meta.kind == kind])
                )
        virtual = self.virtual_services.get(service.host(self.settings.domain))
        if virtual is None or not virtual.rules:
            return None
        held = (rule_for(rule, port.port, namespace, labels or {}) for rule in virtual.rules_for(MESH))
        return tuple(self.with_ports(rule, port.port) for rule in held if rule is not None)

    def with_ports(self, rule: Rule, port: int) -> Rule:
        """A VirtualService may leave out the port of a service that has only one; else that of the request holds."""
        return _with_targets(rule, lambda item: self.with_port(item, port))

    def with_port(self, destination: Destination, port: int) -> Destination:
        """The same for one destination."""
        if destination.port is not None:
            return destination
        service = self.snapshot.services.get(service_of(destination.host))
        if service is not None and len(service.ports) == 1:
            return replace(destination, port=service.ports[0].port)
        return replace(destination, port=port)


def _destination_rules(
    snapshot: Snapshot, settings: MeshSettings, outside: Mapping[str, str]
) -> dict[tuple[str, str], DestinationRule]:
    found: dict[tuple[str, str], DestinationRule] = {}
    mesh_wide: dict[str, DestinationRule] = {}
    for written in sorted(snapshot.destination_rules.values(), key=lambda item: item.meta.age_key):
        rule = replace(written, host=outside.get(written.host, written.host))
        owner = rule.host.split(".")[1] if rule.host.endswith(f".svc.{settings.domain}") else ""
        if rule.meta.namespace == owner:
            found.setdefault((EVERYBODY, rule.host), rule)
        elif rule.meta.namespace == settings.root_namespace:
            mesh_wide.setdefault(rule.host, rule)
        else:
            found.setdefault((rule.meta.namespace, rule.host), rule)
    for host, rule in mesh_wide.items():
        found.setdefault((EVERYBODY, host), rule)
    return found


def _outside_names(snapshot: Snapshot, domain: str) -> dict[str, str]:
    """Hosts of ServiceEntries that read like `service.namespace`, such as example.com, by the full name of such one."""
    hosts = {host for entry in snapshot.service_entries.values() for host in entry.hosts if host.count(".") == 1}
    found = {short_host(host, "", domain): host for host in hosts}
    return {full: host for full, host in found.items() if service_of(full) not in snapshot.services}


def _calling(virtual: VirtualService, outside: Mapping[str, str]) -> VirtualService:
    """The VirtualService with hosts outside called by their own names."""

    def named(target: Destination) -> Destination:
        return replace(target, host=outside.get(target.host, target.host))

    return replace(
        virtual,
        hosts=tuple(outside.get(host, host) for host in virtual.hosts),
        rules=tuple(_with_targets(rule, named) for rule in virtual.rules),
        streams=tuple(replace(rule, destinations=tuple(map(named, rule.destinations))) for rule in virtual.streams),
    )


def resolved(snapshot: Snapshot, route: GatewayRoute) -> GatewayRoute:
    """The route with every reference that cannot be followed marked as such."""

    def checked(target: Destination) -> Destination:
        return replace(target, invalid=backend_problem(snapshot, route, target))

    return replace(route, rules=tuple(_with_targets(rule, checked) for rule in route.rules))


def _with_targets(rule: Rule, change: Callable[[Destination], Destination]) -> Rule:
    """The rule with every destination and mirror changed."""
    return replace(
        rule,
        destinations=tuple(map(change, rule.destinations)),
        mirrors=tuple(replace(item, destination=change(item.destination)) for item in rule.mirrors),
    )


def host_rules(virtual: VirtualService, port: int) -> tuple[Rule, ...] | None:
    """The rules of a VirtualService for a host that is no Service; None where it has none for requests."""
    if not virtual.rules:
        return None
    held = (rule_for(rule, port, "", {}) for rule in virtual.rules_for(MESH))
    return tuple(rule for rule in held if rule is not None)


def rule_for(rule: Rule, port: int, namespace: str, labels: Mapping[str, str]) -> Rule | None:
    """The rule with the matches that can hold for requests of such a client to such a port; None if there is none."""
    if not rule.matches:
        return rule
    held = tuple(
        replace(match, port=None, source_labels=(), source_namespace="", gateways=())
        for match in rule.matches
        if match.port in {None, port}
        and match.source_namespace in {"", namespace}
        and all(labels.get(name) == value for name, value in match.source_labels)
    )
    return replace(rule, matches=held) if held else None


def clients_of(route_namespace: str, service_namespace: str) -> str:
    """Whose requests a route speaks about: beside its Service everybody's, elsewhere those of its own namespace."""
    return EVERYBODY if route_namespace == service_namespace else route_namespace


def merged_rules(routes: Iterable[GatewayRoute]) -> list[Rule]:
    """The rules of several routes of a kind as one list, most specific match first, as Gateway API prescribes.

    Each match becomes a rule of its own, since the order is one of matches. `routes` come oldest first, and sorting is
    stable: among equals the older route, then the earlier rule wins.
    """
    single = [
        replace(rule, matches=(match,))
        for route in routes
        for rule in route.rules
        for match in (rule.matches or (Match(),))
    ]
    return sorted(single, key=lambda rule: _specificity(rule.matches[0]))


def _specificity(match: Match) -> tuple[int, int, int, int, int]:
    kind = match.path.kind if match.path is not None else "segment-prefix"
    length = len(match.path.value) if match.path is not None else 1
    order = {"exact": 0, "segment-prefix": 1, "prefix": 1, "regex": 2}.get(kind, 3)
    # A regular expression has no length that means anything, but it must not lose to the prefix "/".
    if kind == "segment-prefix" and length == 1:
        order = 3
    return (order, -length, 0 if match.method is not None else 1, -len(match.headers), -len(match.query))
