"""Which hosts there are, and whose VirtualService, DestinationRule and ServiceEntry is in force for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.hostnames import covers
from refmesh.api.meta import Meta
from refmesh.api.routing import Destination
from refmesh.config.model import Service
from refmesh.config.outside import OutsideHost, ambiguous_names
from refmesh.config.references import service_of
from refmesh.config.standing import Finding
from refmesh.discovery.attachments import EVERYBODY, Attachments
from refmesh.discovery.virtual_hosts import wider_names

__all__ = ["KnownHosts"]


class KnownHosts:
    """Looks into what was attached to hosts. Wildcards stand for the hosts that there are."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments, self._snapshot = attachments, attachments.snapshot
        self._domain = attachments.settings.domain
        self._called = ambiguous_names(self._snapshot, self._domain)
        self._outside: dict[str, list[OutsideHost]] = {}
        for one in attachments.outside:
            self._outside.setdefault(one.name, []).append(one)
        self._in_force: dict[Meta, DestinationRule] = {}
        self._subsets = set[tuple[str, str]]()
        for rules in attachments.destination_rules.values():
            for rule in rules:
                self._in_force[rule.meta] = rule
                self._subsets |= {(rule.host, subset.name) for subset in rule.subsets}

    def service(self, host: str) -> Service | None:
        """The Service of a full name."""
        found = self._snapshot.services.get(service_of(host))
        return found if found is not None and found.host(self._domain) == host else None

    def known(self, host: str) -> bool:
        """Whether there is the host, or one that a wildcard covers."""
        return self.service(host) is not None or host in self._outside or host in self._covered

    def entry_of(self, name: str, port: int) -> Meta | None:
        """The ServiceEntry that says what a host is at a port."""
        return next((one.entry.meta for one in self._outside.get(name, ()) if one.port.number == port), None)

    def outside_of(self, host: str) -> Iterator[OutsideHost]:
        """The hosts of ServiceEntries that a name stands for."""
        if host.startswith("*"):
            yield from (one for one in self._attachments.outside if covers(host, one.name))
        else:
            yield from self._outside.get(host, ())

    @cached_property
    def _covered(self) -> frozenset[str]:
        """The wildcards that cover a host."""
        names = [*self._outside, *(service.host(self._domain) for service in self._snapshot.services.values())]
        return frozenset(wider for name in names for wider in wider_names(name))

    @cached_property
    def _routed(self) -> dict[Meta, set[str]]:
        """The hosts that there are, by the VirtualService in force for them."""
        found: dict[Meta, set[str]] = {}
        for table in (self._attachments.virtual_services, *self._attachments.exported.values()):
            for host, item in table.items():
                if self.service(host) is not None or host in self._outside:
                    found.setdefault(item.meta, set()).add(host)
        return found

    def routed(self, meta: Meta, host: str) -> set[str]:
        """The hosts that a name stands for and for which a VirtualService is in force."""
        own = self._routed.get(meta, set())
        return {host} & own if not host.startswith("*") else {one for one in own if covers(host, one)}

    def router_of(self, host: str, namespaces: Iterable[str]) -> Meta | None:
        """The VirtualService in force for a host for clients of one of these namespaces."""
        found = (self._attachments.virtual_service(host, namespace) for namespace in namespaces)
        return next((item.meta for item in found if item is not None), None)

    def rule_in_force(self, written: DestinationRule) -> tuple[DestinationRule, Meta | None, bool]:
        """A DestinationRule as it was understood, the one that is in force instead, and whether it is itself."""
        if (found := self._in_force.get(written.meta)) is not None:
            return found, None, True
        rule = replace(written, host=self._called.get(written.host, written.host))
        for scope in (*sorted(rule.exported or {rule.meta.namespace}), EVERYBODY):
            for other in self._attachments.destination_rules.get((scope, rule.host), ()):
                return rule, other.meta, False
        return rule, None, False

    def hearing(self, rule: DestinationRule) -> set[str]:
        """The namespaces whose clients follow a rule that is not for everybody."""
        scopes = self._attachments.destination_rules
        return {name for name in rule.exported if rule in scopes.get((name, rule.host), ())}

    def problem(self, target: Destination, namespace: str) -> Finding | None:
        """Why a destination in a route of this namespace cannot be reached."""
        service, outside = self.service(target.host), self._outside.get(target.host, [])
        if service is None and not outside:
            return Finding("HostNotFound", f"there is no Service and no host of a ServiceEntry {target.host}")
        numbers = [one.port.number for one in outside]
        if service is not None and not outside:
            numbers = [port.port for port in service.ports]
        if target.port is not None and target.port not in numbers:
            return Finding("PortNotFound", f"{target.host} has no TCP port {target.port}")
        if target.subset and not self._has_subset(target, namespace):
            word = f"no DestinationRule in force for {target.host} has a subset {target.subset}"
            return Finding("SubsetNotFound", word)
        return None

    def _has_subset(self, target: Destination, namespace: str) -> bool:
        if (target.host, target.subset) in self._subsets:
            return True  # for some clients, at least
        rules = (self._attachments.rule_of_host(target.host, scope) for scope in (namespace, EVERYBODY))
        return any(rule is not None and rule.subset(target.subset) is not None for rule in rules)
