"""What became of each object of Istio's kinds: in force, or why not.

Judged by the very tables that proxies' resources are made from, so that statuses say nothing that traffic does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.meta import Meta
from refmesh.api.request_authentication import RequestAuthentication
from refmesh.api.selection import Selection
from refmesh.api.service_entry import ServiceEntry
from refmesh.config.effects import without_effect, without_effect_at_pods
from refmesh.config.model import Key, Snapshot
from refmesh.config.standing import Finding, Standing
from refmesh.config.store import table_of
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.known_hosts import KnownHosts
from refmesh.discovery.policy import MtlsPolicies
from refmesh.discovery.scopes import Scopes
from refmesh.discovery.standing_gateways import GatewayStandings
from refmesh.discovery.standing_routes import RouteStandings

__all__ = ["Standings", "inputs"]

_MOST_LABELS = 6
_MOST_PLACES = 16
"""So many hosts and ports are named that another ServiceEntry has; the others are counted."""


def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
    """All that standings depend on. What did not change is the same object as before."""
    if not snapshot.istio_gateways:
        return (*snapshot.without_endpoints, ())
    routers = tuple((key, pod.labels) for key, pod in snapshot.pods.items() if pod.router)
    return (*snapshot.without_endpoints, tuple(sorted((key, tuple(sorted(labels.items()))) for key, labels in routers)))


class Standings:
    """Judges the objects of one snapshot, one at a time."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments, self._snapshot = attachments, attachments.snapshot
        root = attachments.settings.root_namespace
        snapshot, hosts = self._snapshot, KnownHosts(attachments)
        self._hosts = hosts
        mtls = MtlsPolicies.collect(snapshot.peer_authentications.values(), root)
        self._rivals = _Rivals()
        self._rivals.add(mtls.namespaces, mtls.workloads, lambda item: frozenset(item.selector.items()))
        for policies in (snapshot.sidecars.values(), snapshot.telemetries.values()):
            scopes: Scopes[Any] = Scopes.collect(policies, root)
            self._rivals.add(scopes.namespaces, scopes.workloads, _picked)
        gateways = GatewayStandings(attachments)
        routes = RouteStandings(attachments, hosts, gateways)
        self._judges: Mapping[str, Callable[[Any], Standing]] = {
            "VirtualService": routes.of,
            "DestinationRule": self._destination_rule,
            "ServiceEntry": self._service_entry,
            "IstioGateway": gateways.of,
            "PeerAuthentication": self._one_of_several,
            "Sidecar": self._one_of_several,
            "Telemetry": self._one_of_several,
            "AuthorizationPolicy": self._policy,
            "RequestAuthentication": self._request_authentication,
        }

    def of(self, kind: str, key: Key) -> Standing | None:
        """What became of an object; None for one that the snapshot does not have."""
        item, rejected = table_of(self._snapshot, kind).get(key), self._snapshot.rejected.get((kind, *key))
        if kind == "VirtualService" and item is None:
            item = self._attachments.delegation.delegates.get(key)
        if rejected is not None:
            closed = "; what it may have meant to close is closed until it can be read" if item is not None else ""
            found = Finding("Invalid", f"{rejected.reason}{closed}")
            return Standing((found,), generation=rejected.meta.generation)
        return replace(self._judges[kind](item), generation=item.meta.generation) if item is not None else None

    # ------------------------------------------------------------------------------------------------------- policies
    def _one_of_several(self, item: Any) -> Standing:
        """A kind of which one object speaks on each level."""
        targets = getattr(item, "selection", None)
        rival = self._rivals.of(item.meta)
        if rival is not None:
            return Standing((Finding("Conflicted", f"{rival.title}, which is older, speaks for the same workloads"),))
        return self._targeting(item.meta, targets) if targets is not None else Standing()

    def _policy(self, item: Any) -> Standing:
        return self._targeting(item.meta, item.selection)

    def _request_authentication(self, item: RequestAuthentication) -> Standing:
        found = self._targeting(item.meta, item.selection)
        missing = [rule for rule in item.rules if rule.jwks_uri and rule.jwks_uri not in self._snapshot.jwks]
        if found.blocked or not missing:
            return Standing(found.blocked, found.unresolved, found.notes, refers=True)
        word = "no token of issuer {} holds: its keys could not be had from {} yet"
        keys = tuple(Finding("KeysNotFound", word.format(rule.issuer, rule.jwks_uri)) for rule in missing)
        return Standing((), (*found.unresolved, *keys), found.notes, refers=True)

    def _targeting(self, meta: Meta, selection: Selection) -> Standing:
        """A policy that speaks for the Services that it names, or for pods."""
        missing = tuple(
            Finding("TargetNotFound", f"there is no Service {meta.namespace}/{name}")
            for name in selection.services
            if (meta.namespace, name) not in self._snapshot.services
        )
        if not missing:
            return Standing(refers=bool(selection.services))
        nothing_left = len(missing) == len(selection.services)
        return Standing(missing if nothing_left else (), missing, () if nothing_left else missing, refers=True)

    # ------------------------------------------------------------------------------------------------------ hosts
    def _service_entry(self, item: ServiceEntry) -> Standing:
        places = dict.fromkeys((name, port.number) for port in item.ports for name in item.hosts)
        lost = [
            (where, rival)
            for where in places
            if (rival := self._hosts.entry_of(*where)) != item.meta and rival is not None
        ]
        found = [
            Finding("Conflicted", f"{rival.title}, which is older, says what {name}:{number} is")
            for (name, number), rival in lost[:_MOST_PLACES]
        ]
        if more := len(lost) - len(found):
            found.append(Finding("Conflicted", f"others say it of {more} more of its hosts and ports"))
        told = tuple(found)
        return Standing(told, (), ()) if len(lost) == len(places) else Standing((), (), told)

    def _destination_rule(self, written: DestinationRule) -> Standing:
        rule, rival, holds = self._hosts.rule_in_force(written)
        if not self._hosts.known(rule.host):
            missing = (Finding("HostNotFound", f"there is no Service and no host of a ServiceEntry {rule.host}"),)
            return Standing(missing, missing, refers=True)
        if not holds:
            word = "exportTo names no namespace that there is and for whose clients this rule may speak"
            if rival is not None:
                own = not rival.private or rival.meta.namespace == rule.meta.namespace
                title = rival.meta.title if own else f"a DestinationRule of namespace {rival.meta.namespace}"
                word = f"{title} speaks for {rule.host} to the same clients"
            return Standing((Finding("Conflicted" if rival is not None else "NotExported", word),), refers=True)
        return Standing(notes=tuple(self._rule_notes(written, rule)), refers=True)

    def _rule_notes(self, written: DestinationRule, rule: DestinationRule) -> Iterator[Finding]:
        service = self._hosts.service(rule.host)
        pods = without_effect_at_pods(rule) if service is not None and service.headless else ()
        for note in (*without_effect(rule, self._hosts.outside_of(rule.host)), *pods):
            yield Finding("NoEffect", note, "WARNING")
        for note in self._hosts.overruled(rule):
            yield Finding("NoEffect", note, "WARNING")
        if (written.policy, written.subsets) != (rule.policy, rule.subsets):
            word = "only a rule beside the Service may have it, or one of the root namespace for everybody"
            yield Finding("NoEffect", f"h2UpgradePolicy has no effect: {word}", "WARNING")
        if unheard := sorted(rule.exported - self._hosts.hearing(rule)):
            word = (
                f"exportTo: clients in {', '.join(unheard)} do not follow this rule: there is no such namespace, it has"
            )
            yield Finding("NoEffect", f"{word} one of its own, or the rule is not beside the host", "WARNING")


class _Rivals:
    """Which policies are overruled on their level, by which."""

    def __init__(self) -> None:
        self._wide: dict[tuple[str, str], Meta] = {}
        self._workloads: dict[tuple[str, str], dict[frozenset[Any], Meta]] = {}
        self._picks: dict[Meta, frozenset[Any]] = {}

    def add(
        self,
        wide: Mapping[str, Any],
        workloads: Mapping[str, Iterable[Any]],
        picked: Callable[[Any], frozenset[Any]],
    ) -> None:
        """Take in the policies of a kind, the oldest first. `picked`: what is asked of a workload."""
        self._wide |= {(item.meta.kind, space): item.meta for space, item in wide.items()}
        for item in (item for items in workloads.values() for item in items):
            self._picks[item.meta] = picked(item)
            known = self._workloads.setdefault((item.meta.kind, item.meta.namespace), {})
            known.setdefault(picked(item), item.meta)

    def of(self, meta: Meta) -> Meta | None:
        """The one that overrules it; None where none does for all that it speaks for."""
        where = (meta.kind, meta.namespace)
        if meta not in self._picks:
            other = self._wide.get(where)
            return other if other != meta else None
        known = self._workloads[where]
        # An older one that asks for fewer labels picks every pod that this one picks.
        for wider in _subsets(self._picks[meta]):
            other = known.get(wider)
            if other is not None and other != meta and other.age_key < meta.age_key:
                return other
        return None


def _subsets(labels: frozenset[Any]) -> Iterator[frozenset[Any]]:
    """All of them but the empty one; of many labels only the whole set."""
    if len(labels) > _MOST_LABELS:
        yield labels
        return
    items = sorted(labels)
    for number in range(2 ** len(items) - 1, 0, -1):
        yield frozenset(item for index, item in enumerate(items) if number >> index & 1)


def _picked(item: Any) -> frozenset[Any]:
    selection: Selection = item.selection
    # Of Services any is enough, of labels all are asked for: Services are compared as one.
    return frozenset({("", selection.services)}) if selection.services else frozenset(selection.labels)
