"""What of a DestinationRule comes to nothing at a host of a ServiceEntry, so that whoever writes it is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.api.hostnames import covers
from refmesh.api.meta import Meta
from refmesh.api.service_entry import ServiceEntry
from refmesh.config.outside import OutsideHost

__all__ = ["without_effect"]

_OWN_CHOICE = "with resolution NONE clients choose the address themselves"


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
