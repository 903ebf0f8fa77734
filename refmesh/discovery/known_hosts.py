"""Which hosts there are, and whose VirtualService, DestinationRule and ServiceEntry is in force for each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import cached_property

from refmesh.api.destination_rule import NO_POLICY, DestinationRule
from refmesh.api.hostnames import covers
from refmesh.api.meta import Meta
from refmesh.api.routing import Destination
from refmesh.config.model import Service
from refmesh.config.outside import OutsideHost, ambiguous_names
from refmesh.config.references import service_of
from refmesh.config.standing import Finding
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.destination_rules import scopes_of
from refmesh.discovery.virtual_hosts import wider_names

__all__ = ["KnownHosts"]


class KnownHosts:
    """Looks into what was attached to hosts. Wildcards stand for the hosts that there are."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments, self._snapshot = attachments, attachments.snapshot
        self._domain = attachments.settings.domain
        self._called = ambiguous_names(self._snapshot, self._domain)
        self._outside = attachments.outside_by_name
        self._entries = {(one.name, one.port.number): one.entry.meta for one in attachments.outside}
        rules = (rule for found in attachments.destination_rules.values() for rule in found)
        self._in_force = {part.meta: (part, rule) for rule in rules for part in rule.parts or (rule,)}
        self._subsets: dict[tuple[str, str], frozenset[str]] = {}
        self._said: dict[Meta, tuple[dict[str, Meta], Meta]] = {}
        """Of merged rules: whose each subset is, and whose the policy."""

    def service(self, host: str) -> Service | None:
        """The Service of a full name."""
        found = self._snapshot.services.get(service_of(host))
        return found if found is not None and found.host(self._domain) == host else None

    def known(self, host: str) -> bool:
        """Whether there is the host, or one that a wildcard covers."""
        return self.service(host) is not None or host in self._outside or host in self._covered

    def entry_of(self, name: str, port: int) -> Meta | None:
        """The ServiceEntry that says what a host is at a port."""
        return self._entries.get((name, port))

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
    def _routed(self) -> dict[tuple[Meta, str], set[str]]:
        """The hosts that there are, by the VirtualService in force for them and by what it may call them."""
        found: dict[tuple[Meta, str], set[str]] = {}
        items = self._snapshot.virtual_services.values()
        wildcards = {name for item in items for name in item.hosts if name.startswith("*")}
        for table in (self._attachments.virtual_services, *self._attachments.exported.values()):
            for host, item in table.items():
                if self.service(host) is not None or host in self._outside:
                    for name in (host, *(name for name in wider_names(host) if name in wildcards)):
                        found.setdefault((item.meta, name), set()).add(host)
        return found

    def routed(self, meta: Meta, host: str) -> set[str]:
        """The hosts that a name stands for and for which a VirtualService is in force."""
        return self._routed.get((meta, host), set())

    def router_of(self, host: str, namespaces: Iterable[str]) -> Meta | None:
        """The VirtualService in force for a host for clients of one of these namespaces."""
        found = (self._attachments.virtual_service(host, namespace) for namespace in namespaces)
        return next((item.meta for item in found if item is not None), None)

    def rule_in_force(self, written: DestinationRule) -> tuple[DestinationRule, DestinationRule | None, bool]:
        """A DestinationRule as it was understood, the one that is in force instead, and whether it is itself."""
        if written.meta in self._in_force:
            found, whole = self._in_force[written.meta]
            if not whole.private or whole.host not in self._outside or self.hearing(whole):
                return found, None, True
            followed = (self._attachments.rule_of_host(whole.host, name) for name in sorted(whole.exported))
            return found, next(filter(None, followed), None), False
        rule = replace(written, host=self._called.get(written.host, written.host))
        # Where it has no say, nobody stands in its way, and what others keep to themselves is not for it to learn.
        for scope in scopes_of(rule, self._attachments.settings):
            for other in self._attachments.destination_rules.get((scope, rule.host), ()):
                return rule, other, False
        return rule, None, False

    def hearing(self, rule: DestinationRule) -> set[str]:
        """The namespaces whose clients follow a rule that is not for everybody."""
        scopes, rule = self._attachments.destination_rules, self._whole(rule)
        found = {name for name in rule.exported if rule in scopes.get((name, rule.host), ())}
        if rule.host not in self._outside:
            return found
        return {name for name in found if self._attachments.rule_of_host(rule.host, name) is rule}

    def overruled(self, rule: DestinationRule) -> Iterator[str]:
        """What a rule in force says that others of its namespace, which it was merged with, say instead."""
        whole = self._whole(rule)
        if not whole.parts:
            return
        if whole.meta not in self._said:
            parts = whole.parts[::-1]
            first = {subset.name: part.meta for part in parts for subset in part.subsets}
            self._said[whole.meta] = first, next(part.meta for part in whole.parts if part.policy == whole.policy)
        by_subset, of_policy = self._said[whole.meta]
        if rule.policy != NO_POLICY and of_policy != rule.meta:
            yield f"trafficPolicy has no effect: {of_policy.title}, which is older, has one"
        for subset in rule.subsets:
            if (other := by_subset[subset.name]) != rule.meta:
                yield f"subset {subset.name} has no effect: {other.title}, which is older, has one of that name"

    def _whole(self, rule: DestinationRule) -> DestinationRule:
        """What a rule was merged into, if it was."""
        return self._in_force[rule.meta][1] if rule.meta in self._in_force else rule

    def problem(self, target: Destination, namespaces: Collection[str]) -> Finding | None:
        """Why a destination cannot be reached by clients of any of these namespaces."""
        service, outside = self.service(target.host), target.host in self._outside
        if service is None and not outside:
            return Finding("HostNotFound", f"there is no Service and no host of a ServiceEntry {target.host}")
        if service is not None and not outside and not any(service.told(one) for one in namespaces):
            word = f"{target.host} is exported (exportTo) to no namespace whose clients or gateways this speaks to"
            return Finding("HostNotFound", word)
        if target.port is not None and not self._has_port(target.host, target.port):
            return Finding("PortNotFound", f"{target.host} has no TCP port {target.port}")
        if target.subset and not any(target.subset in self._subsets_of(target.host, one) for one in namespaces):
            word = f"no DestinationRule in force for {target.host} has a subset {target.subset}"
            return Finding("SubsetNotFound", word)
        return None

    def _has_port(self, host: str, number: int) -> bool:
        if host in self._outside:
            return (host, number) in self._entries
        service = self.service(host)
        return service is not None and service.port(number) is not None

    def _subsets_of(self, host: str, namespace: str) -> frozenset[str]:
        """What there is for a namespace's clients: an object may name a host thousands of times."""
        if (host, namespace) not in self._subsets:
            rule = self._attachments.rule_of_host(host, namespace)
            self._subsets[host, namespace] = frozenset(one.name for one in rule.subsets) if rule else frozenset()
        return self._subsets[host, namespace]
