"""Which hosts of a cluster a proxy prefers, seen from where it is.

Hosts that are equally close share a priority of Envoy's. Those of the next get requests once so many of this one are
ejected that the rest, at Envoy's overprovisioning factor of 140 %, could not bear all: at 71 % it begins, and where all
are ejected the next get everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, takewhile
from typing import Any, NamedTuple

from envoy.config.core.v3.base_pb2 import Locality as LocalityProto
from envoy.config.endpoint.v3.endpoint_components_pb2 import LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from refmesh.api.destination_rule import TrafficPolicy
from refmesh.api.locality import REGION, SUBZONE, ZONE, Locality, LocalitySetting
from refmesh.config.model import Pod, Service, Snapshot
from refmesh.discovery.endpoints import Address, Backend, lb_endpoints
from refmesh.discovery.packing import uint32

__all__ = [
    "NOWHERE",
    "Host",
    "Placed",
    "Plan",
    "Viewpoint",
    "assignment",
    "in_force",
    "levels",
    "plan_of",
    "plan_of_hosts",
    "viewpoint",
    "weights",
]

_PLAIN, _ALIKE = LocalitySetting(), LocalitySetting(enabled=False)
_HOSTNAME = "kubernetes.io/hostname"
_PLACES = frozenset({REGION, ZONE, SUBZONE})
_SAME_ZONE = LocalitySetting(priority=(REGION, ZONE))
_PREFERRED = {
    "PreferClose": _SAME_ZONE,
    "PreferSameZone": _SAME_ZONE,
    "PreferSameNode": LocalitySetting(priority=(REGION, ZONE, SUBZONE, _HOSTNAME)),
}
"""What a Service's `trafficDistribution` means, as in Istio."""
_PARTS = 1000
"""Into so many parts a share is divided between places that one pattern means."""


class Placed(NamedTuple):
    """One address, where it is, and what labels it has."""

    address: Address
    locality: Locality
    labels: Mapping[str, str]
    node: str = ""

    def label(self, key: str) -> str:
        """The value of a label; places count as labels, as in Istio."""
        place = self.locality
        places = {REGION: place.region, ZONE: place.zone, SUBZONE: place.subzone, _HOSTNAME: self.node}
        return places.get(key) or self.labels.get(key, "")


class Host(NamedTuple):
    """One address, where it is, and its values of the labels that the setting asks for, in the setting's order."""

    address: Address
    locality: Locality
    labels: tuple[str, ...] = ()
    node: str = ""
    """Its Node, where that counts."""


@dataclass(frozen=True)
class Plan:
    """All that the load assignment of a cluster depends on beside who looks at it."""

    setting: LocalitySetting
    hosts: tuple[Host, ...]
    node_local: bool = False
    """Nobody sees the hosts of other Nodes."""

    @cached_property
    def keys(self) -> frozenset[str]:
        """The labels of a client that count."""
        found = (entry for entry in self.setting.priority if "=" not in entry)
        return frozenset((*found, _HOSTNAME) if self.node_local else found)

    @property
    def within_places(self) -> bool:
        """Whether clients of one place may see it differently: by their Nodes, or by labels of their own."""
        return not self.keys <= _PLACES

    @cached_property
    def _values(self) -> tuple[frozenset[str], ...]:
        """The hosts' values of each label that the setting asks for."""
        return tuple(map(frozenset, zip(*(host.labels for host in self.hosts), strict=True)))

    @cached_property
    def _on_nodes(self) -> Mapping[str, Plan]:
        """The plan with the hosts of each Node that has any."""
        found: dict[str, list[Host]] = {}
        for host in self.hosts:
            if host.node:
                found.setdefault(host.node, []).append(host)
        return {node: Plan(self.setting, tuple(hosts)) for node, hosts in found.items()}

    def reduced(self, view: Viewpoint) -> Viewpoint:
        """What of a viewpoint counts here: the place itself only where no labels are asked for."""
        if self.node_local and view.node not in self._on_nodes:
            return NOWHERE
        by_place, keys = self.setting.enabled and not self.setting.priority, self._telling(view)
        labels = tuple(label for label in view.labels if label[0] in keys)
        return Viewpoint(view.locality if by_place else NOWHERE.locality, labels)

    def _telling(self, view: Viewpoint) -> set[str]:
        """The labels of this client that count, up to the first of which no host has its value.

        Nothing counts after that one, nor what its value is: Nodes without a host all see the same.
        """
        own, found = dict(view.labels), {_HOSTNAME} if self.node_local else set[str]()
        for entry, values in zip(self.setting.priority, self._values, strict=False):
            absent = _wanted(entry, own) not in values
            # To hosts without the label a client without it is close, and one with another value is not.
            if "=" not in entry and (not absent or "" in values):
                found.add(entry)
            if absent:
                break
        return found

    def reached(self, view: Viewpoint) -> Plan:
        """The plan with the hosts that are there for a client."""
        return self._on_nodes.get(view.node, Plan(self.setting, ())) if self.node_local else self


@dataclass(frozen=True)
class Viewpoint:
    """Where a client is, and those of its labels that count. All clients of one viewpoint see the same."""

    locality: Locality
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def node(self) -> str:
        """The Node, where it counts and is known."""
        return dict(self.labels).get(_HOSTNAME, "")


NOWHERE = Viewpoint(Locality())
"""Of a client whose place is unknown."""


def in_force(policy: TrafficPolicy, distribution: str = "") -> LocalitySetting | None:
    """What holds for a cluster; None where places mean nothing. `distribution`: what its Service says.

    As in Istio failover needs outlier detection, without which no host ever counts as gone, and is then the default;
    but what a Service says holds without, unless a rule says otherwise.
    """
    if policy.locality is None and distribution in _PREFERRED:
        return _PREFERRED[distribution]
    setting = policy.locality or _PLAIN
    return setting if setting.enabled and (setting.distribute or policy.outlier is not None) else None


def plan_of(policy: TrafficPolicy, snapshot: Snapshot, backends: Iterable[Backend], service: Service) -> Plan | None:
    """The plan of a Service's cluster with these backends; None where it looks the same from everywhere."""

    def placed(backend: Backend) -> Placed:
        pod = backend.pod
        if pod is None:
            return Placed(backend.listed, NOWHERE.locality, {})
        return Placed(backend.listed, snapshot.locality(pod), pod.labels, pod.node)

    return plan_of_hosts(policy, map(placed, backends), service.distribution, node_local=service.node_local)


def plan_of_hosts(
    policy: TrafficPolicy, hosts: Iterable[Placed], distribution: str = "", *, node_local: bool = False
) -> Plan | None:
    """The plan of a cluster with these hosts; None where it looks the same from everywhere."""
    setting = in_force(policy, distribution)
    if setting is None and not node_local:
        return None
    setting = setting or _ALIKE
    keys = [entry.partition("=")[0] for entry in setting.priority]
    if node_local:
        here = (Host(one.address, one.locality, tuple(map(one.label, keys)), one.node) for one in hosts)
        return Plan(setting, tuple(here), node_local)
    found = tuple(Host(one.address, one.locality, tuple(map(one.label, keys))) for one in hosts)
    by_place = setting.distribute or len({host.locality for host in found}) > 1
    return Plan(setting, found) if by_place or setting.priority else None


def viewpoint(snapshot: Snapshot, pod: Pod, keys: Iterable[str]) -> Viewpoint:
    """The viewpoint of a pod's proxy, by what the API server says of the pod."""
    place = snapshot.locality(pod)
    own = Placed(Address(pod.address, 0), place, pod.labels, pod.node)
    labels = ((key, own.label(key)) for key in sorted(keys))
    return Viewpoint(place, tuple((key, value) for key, value in labels if value))


def rank(setting: LocalitySetting, host: Host, view: Viewpoint) -> int:
    """How far a host is from being the first choice: 0 is the first. Only the order counts."""
    if setting.priority:
        own = dict(view.labels)
        wanted = (_wanted(entry, own) for entry in setting.priority)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(host.labels, wanted, strict=True))
        return len(setting.priority) - sum(1 for _ in same)
    if not view.locality.region:
        return 0
    away = view.locality.distance(host.locality)
    target = dict(setting.failover).get(view.locality.region)
    return away + 1 if away == 3 and target not in {None, host.locality.region} else away


def _wanted(entry: str, own: Mapping[str, str]) -> str:
    """The value that a host must have for `key` or `key=value`."""
    key, given, value = entry.partition("=")
    return value if given else own.get(key, "")


def levels(plan: Plan, view: Viewpoint) -> tuple[tuple[Host, ...], ...]:
    """The hosts by priority, without gaps, as Envoy demands. No level is empty."""
    if plan.setting.distribute or not plan.setting.enabled:
        return (plan.hosts,) if plan.hosts else ()
    found: dict[int, list[Host]] = {}
    for host in plan.hosts:
        found.setdefault(rank(plan.setting, host, view), []).append(host)
    return tuple(tuple(found[away]) for away in sorted(found))


def weights(plan: Plan, view: Viewpoint) -> Mapping[Locality, int]:
    """With `distribute`: the weights of places; one that is not named gets nothing.

    A client of whose place nothing is said spreads requests over all hosts by their own weights.
    """
    left = Counter[Locality]()
    for host in plan.hosts:
        # Envoy chooses the place first: what a host's weight is beside those in other places is told here or nowhere.
        left[host.locality] += host.address.weight or 1
    chosen = next((one for one in plan.setting.distribute if view.locality.within(one.origin)), None)
    if chosen is None:
        return left
    found = dict[Locality, int]()
    # The closer a pattern says which place it means, the sooner it is heard.
    for pattern, share in sorted(chosen.shares, key=lambda item: item[0], reverse=True):
        meant = [place for place in left if place.within(pattern)]
        whole = sum(left[place] for place in meant)
        found |= {place: max(1, share * _PARTS * left.pop(place) // whole) for place in meant}
    return found


def assignment(name: str, plan: Plan, view: Viewpoint) -> Any:
    """The load assignment of a cluster for the proxies of one viewpoint."""
    plan = plan.reached(view)
    weighted = weights(plan, view) if plan.setting.distribute else None
    parts = []
    for priority, hosts in enumerate(levels(plan, view)):
        for place, here in groupby(sorted(hosts, key=lambda host: host.locality), key=lambda host: host.locality):
            if weighted is not None and place not in weighted:
                continue
            part = LocalityLbEndpoints(
                locality=LocalityProto(region=place.region, zone=place.zone, sub_zone=place.subzone),
                lb_endpoints=lb_endpoints(host.address for host in here),
                priority=priority,
            )
            if weighted is not None:
                part.load_balancing_weight.CopyFrom(uint32(weighted[place]))
            parts.append(part)
    return ClusterLoadAssignment(cluster_name=name, endpoints=parts)
