"""Which routes and policies speak about which service, for whose clients, and in what order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.http_route import HTTPRoute
from refmesh.api.routing import Destination, Match, Rule
from refmesh.api.virtual_service import VirtualService
from refmesh.config.model import Key, Service, ServicePort, Snapshot
from refmesh.config.references import backend_problem
from refmesh.discovery.settings import MeshSettings

__all__ = ["Attachments", "merged_http_rules"]

EVERYBODY = ""


@dataclass(frozen=True)
class Attachments:
    """Everything that users attached to services. Scope "" speaks to all clients, a namespace to the clients in it."""

    snapshot: Snapshot
    settings: MeshSettings
    virtual_services: Mapping[str, VirtualService]
    http_routes: Mapping[tuple[str, Key], tuple[HTTPRoute, ...]]
    destination_rules: Mapping[tuple[str, str], DestinationRule]

    @classmethod
    def collect(cls, snapshot: Snapshot, settings: MeshSettings) -> Attachments:
        """Sort what a snapshot has. Of several objects on the same host the oldest decides."""
        virtual: dict[str, VirtualService] = {}
        for item in sorted(snapshot.virtual_services.values(), key=lambda item: item.meta.age_key):
            for host in item.hosts:
                virtual.setdefault(host, item)
        routes: dict[tuple[str, Key], list[HTTPRoute]] = {}
        for route in sorted(snapshot.http_routes.values(), key=lambda item: item.meta.age_key):
            for key in {(parent.namespace, parent.name) for parent in route.parents}:
                # A route beside its Service speaks for the producer, one elsewhere for that namespace's own clients.
                scope = EVERYBODY if key[0] == route.meta.namespace else route.meta.namespace
                routes.setdefault((scope, key), []).append(route)
        return cls(
            snapshot,
            settings,
            virtual,
            {where: tuple(found) for where, found in routes.items()},
            _destination_rules(snapshot, settings),
        )

    def namespaces_of_their_own(self) -> set[str]:
        """Namespaces whose clients see something that others do not."""
        scopes = {scope for scope, _ in self.http_routes} | {scope for scope, _ in self.destination_rules}
        return scopes - {EVERYBODY}

    def special_services(self, namespace: str) -> set[Key]:
        """The services that clients of a namespace see differently."""
        found = {key for scope, key in self.http_routes if scope == namespace}
        for scope, host in self.destination_rules:
            if scope == namespace:
                name, _, rest = host.partition(".")
                found.add((rest.partition(".")[0], name))
        return found

    def destination_rule(self, service: Service, namespace: str) -> DestinationRule | None:
        """The rule in force for clients of a namespace: their own, else the one that speaks to all."""
        host = service.host(self.settings.domain)
        own = self.destination_rules.get((namespace, host))
        return own if own is not None else self.destination_rules.get((EVERYBODY, host))

    def rules(self, service: Service, port: ServicePort, namespace: str) -> tuple[Rule, ...] | None:
        """The routing rules for a service port: consumer's HTTPRoutes, producer's, VirtualService; None without any."""
        for scope in dict.fromkeys((namespace, EVERYBODY)):
            routes = [
                route
                for route in self.http_routes.get((scope, service.key), ())
                if any(
                    (parent.namespace, parent.name) == service.key and parent.port in {None, port.port}
                    for parent in route.parents
                )
            ]
            if routes:
                return tuple(self._resolved(rule) for rule in merged_http_rules(routes))
        virtual = self.virtual_services.get(service.host(self.settings.domain))
        return tuple(self._with_ports(rule, port) for rule in virtual.rules) if virtual is not None else None

    def _resolved(self, rule: Rule) -> Rule:
        destinations = tuple(
            replace(item, invalid=problem) if (problem := backend_problem(self.snapshot, item)) else item
            for item in rule.destinations
        )
        return replace(rule, destinations=destinations)

    def _with_ports(self, rule: Rule, port: ServicePort) -> Rule:
        """A VirtualService may leave out the port of a service that has only one."""
        return replace(rule, destinations=tuple(self._with_port(item, port) for item in rule.destinations))

    def _with_port(self, destination: Destination, port: ServicePort) -> Destination:
        if destination.port is not None:
            return destination
        name, _, rest = destination.host.partition(".")
        service = self.snapshot.services.get((rest.partition(".")[0], name))
        if service is not None and len(service.ports) == 1:
            return replace(destination, port=service.ports[0].port)
        return replace(destination, port=port.port)


def _destination_rules(snapshot: Snapshot, settings: MeshSettings) -> dict[tuple[str, str], DestinationRule]:
    found: dict[tuple[str, str], DestinationRule] = {}
    mesh_wide: dict[str, DestinationRule] = {}
    for rule in sorted(snapshot.destination_rules.values(), key=lambda item: item.meta.age_key):
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


def merged_http_rules(routes: Iterable[HTTPRoute]) -> list[Rule]:
    """The rules of several HTTPRoutes as one list, most specific match first, as Gateway API prescribes.

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
