"""What of a DestinationRule comes to nothing at a host of a ServiceEntry, so that whoever writes it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from refmesh.api.destination_rule import DestinationRule, TrafficPolicy
from refmesh.api.hostnames import covers
from refmesh.api.service_entry import ServiceEntry

__all__ = ["without_effect"]

_OWN_CHOICE = "with resolution NONE clients choose the address themselves"


def without_effect(rules: Iterable[DestinationRule], entries: Iterable[ServiceEntry]) -> Iterator[str]:
    """A sentence for each field of the rules that does nothing at a host of one of the entries."""
    known = list(entries)
    for rule in rules:
        for entry in known:
            host = next((name for name in entry.hosts if covers(rule.host, name)), None)
            if host is not None:
                yield from (f"{field} has no effect at {host}: {why}" for field, why in _fields(rule, entry))


def _fields(rule: DestinationRule, entry: ServiceEntry) -> Iterator[tuple[str, str]]:
    yield from _of_policy("spec.trafficPolicy", rule.policy, entry)
    for index, subset in enumerate(rule.subsets):
        path = f"spec.subsets[{index}]"
        wanted = subset.labels.items()
        if wanted and entry.resolution == "NONE":
            yield f"{path}.labels", _OWN_CHOICE
        elif wanted and not any(wanted <= dict(one.labels).items() for one in entry.endpoints):
            yield f"{path}.labels", f"no endpoint of ServiceEntry {entry.meta.name} has them, so the subset is empty"
        yield from _of_policy(f"{path}.trafficPolicy", subset.policy, entry)


def _of_policy(path: str, policy: TrafficPolicy, entry: ServiceEntry) -> Iterator[tuple[str, str]]:
    if entry.resolution == "NONE":
        if policy.balancer not in {None, "UNSPECIFIED", "PASSTHROUGH"}:
            yield f"{path}.loadBalancer", _OWN_CHOICE
        if policy.outlier is not None:
            yield f"{path}.outlierDetection", _OWN_CHOICE
    elif entry.resolution == "DNS" and policy.locality is not None:
        yield f"{path}.loadBalancer.localityLbSetting", "of names that are looked up no locality is known"
    for number, level in policy.ports.items():
        yield from _of_policy(f"{path}.portLevelSettings[{number}]", level, entry)
