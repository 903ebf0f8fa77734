"""What of a DestinationRule comes to nothing at a host outside or at a headless Service: whoever writes it is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.api.hostnames import covers
from refmesh.api.limits import ConnectionPool
from refmesh.api.meta import Meta
from refmesh.api.service_entry import ServiceEntry
from refmesh.config.outside import OutsideHost

__all__ = ["without_effect", "without_effect_at_pods"]

_OWN_CHOICE = "with resolution NONE clients choose the address themselves"
_OWN_POD = "it is headless, and its clients choose the pod themselves; what a route leads there follows it"
_NO_PROXY = "it is headless, and they are reached as any address is"


def without_effect(
    rule: DestinationRule, hosts: Iterable[OutsideHost], only: Collection[Meta] | None = None
) -> Iterator[str]:
    """A sentence for each field of the rule that does nothing at one of the hosts, by the entry that decides there.

    Of the hosts of an entry, which are alike, the first is named. `only`: the entries to speak of; None: all.
    """
    held: dict[Meta, list[OutsideHost]] = {}
    ports: dict[str, set[int]] = {}
    for one in hosts:
        if covers(rule.host, one.name):
            held.setdefault(one.entry.meta, []).append(one)
            ports.setdefault(one.name, set()).add(one.port.number)
    spoken = (found for meta, found in held.items() if only is None or meta in only)
    for first, *others in spoken:
        own = {first.port.number, *(one.port.number for one in others if one.name == first.name)}
        places = [first.name] if own == ports[first.name] else [f"{first.name}:{number}" for number in sorted(own)]
        for field, why in _fields(rule, first.entry, own):
            yield f"{field} has no effect at {', '.join(places)}: {why}"


def without_effect_at_pods(rule: DestinationRule) -> Iterator[str]:
    """A sentence for each field of a rule that does nothing because its host, a Service, is headless.

    The cluster for such pods (Envoy's original destination) takes the address that the client chose, also one that is
    ejected. Pods without a proxy have no cluster of their own unless the rule asks for TLS.
    """
    for path, policy in _policies_at_pods("spec.trafficPolicy", rule.policy):
        if policy.balancer not in {None, "UNSPECIFIED", "PASSTHROUGH"}:
            yield f"{path}.loadBalancer has no effect at {rule.host}: {_OWN_POD}"
        if policy.outlier is not None:
            yield f"{path}.outlierDetection has no effect at {rule.host}: {_OWN_POD}"
        plain, pool = not policy.demands_tls, policy.pool or ConnectionPool()
        if plain and replace(pool, tcp_idle_timeout=None, max_connection_duration=None) != ConnectionPool():
            kept = "; of it tcp.idleTimeout and tcp.maxConnectionDuration hold for TCP"
            yield f"{path}.connectionPool has no effect at pods of {rule.host} without a proxy: {_NO_PROXY}{kept}"
        if plain and policy.retry_budget is not None:
            yield f"{path}.retryBudget has no effect at pods of {rule.host} without a proxy: {_NO_PROXY}"
    for index, _ in enumerate(rule.subsets):
        yield f"spec.subsets[{index}] has no effect at {rule.host}: {_OWN_POD}"


def _policies_at_pods(path: str, policy: TrafficPolicy) -> Iterator[tuple[str, TrafficPolicy]]:
    yield path, policy
    for number, special in policy.ports.items():
        yield f"{path}.portLevelSettings[{number}]", special


def _fields(rule: DestinationRule, entry: ServiceEntry, ports: Collection[int]) -> Iterator[tuple[str, str]]:
    yield from _of_policy("spec.trafficPolicy", rule.policy, entry, ports)
    for index, subset in enumerate(rule.subsets):
        path = f"spec.subsets[{index}]"
        wanted = subset.labels.items()
        if wanted and entry.resolution == "NONE":
            yield f"{path}.labels", _OWN_CHOICE
        elif wanted and not any(wanted <= dict(one.labels).items() for one in entry.endpoints):
            yield f"{path}.labels", f"no endpoint of ServiceEntry {entry.meta.name} has them, so the subset is empty"
        yield from _of_policy(f"{path}.trafficPolicy", subset.policy, entry, ports)


def _of_policy(
    path: str, policy: TrafficPolicy, entry: ServiceEntry, ports: Collection[int]
) -> Iterator[tuple[str, str]]:
    if entry.resolution == "NONE":
        if policy.balancer not in {None, "UNSPECIFIED", "PASSTHROUGH"}:
            yield f"{path}.loadBalancer", _OWN_CHOICE
        if policy.outlier is not None:
            yield f"{path}.outlierDetection", _OWN_CHOICE
    elif entry.resolution == "DNS" and policy.locality is not None:
        yield f"{path}.loadBalancer.localityLbSetting", "of names that are looked up no locality is known"
    for number in (number for number in policy.ports if number in ports):
        yield from _of_policy(f"{path}.portLevelSettings[{number}]", policy.ports[number], entry, ports)
