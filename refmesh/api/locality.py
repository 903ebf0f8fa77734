"""Places, and the block `localityLbSetting` of a DestinationRule: which places get the requests of which clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from refmesh.api.fields import Field, Invalid

__all__ = ["NOWHERE", "POD_LABEL", "REGION", "SUBZONE", "ZONE", "Distribution", "Locality", "LocalitySetting", "read"]

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
"""Labels of Nodes, by Kubernetes."""
SUBZONE = "topology.istio.io/subzone"
POD_LABEL = "istio-locality"
"""Label of a Pod that is to count as being elsewhere than its Node: `region.zone.subzone`."""
_WAYS = ("distribute", "failover", "failoverPriority")
_WHOLE = 100
_MOST_LABELS = 8
"""Each may split the proxies of a mesh further, each of which parts has endpoints of its own."""


class Locality(NamedTuple):
    """A place. Zones of the same name in two regions are two zones. "" is unknown; in a pattern it is any."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    @classmethod
    def of_node(cls, labels: Mapping[str, str]) -> Locality:
        """The place of a Node."""
        return cls(labels.get(REGION, ""), labels.get(ZONE, ""), labels.get(SUBZONE, ""))

    @classmethod
    @lru_cache(maxsize=1024)
    def of_label(cls, text: str) -> Locality:
        """The place that a Pod's label says."""
        return cls(*text.split(".")[:3])

    def distance(self, other: Locality) -> int:
        """0 in the same subzone, 1 in the same zone, 2 in the same region, otherwise 3."""
        for level, (one, two) in enumerate(zip(self, other, strict=True)):
            if one != two:
                return 3 - level
        return 0

    def within(self, pattern: Locality) -> bool:
        """Whether a pattern means this place."""
        return all(wanted in {"", own} for own, wanted in zip(self, pattern, strict=True))


NOWHERE = Locality()


@dataclass(frozen=True)
class Distribution:
    """Where the requests of clients of a place go: patterns with weights that sum up to 100."""

    origin: Locality
    shares: tuple[tuple[Locality, int], ...]


@dataclass(frozen=True)
class LocalitySetting:
    """The whole block. Nothing said: failover to the next closest place."""

    enabled: bool = True
    failover: tuple[tuple[str, str], ...] = ()
    """From which region to which, where no host is left in the first."""
    priority: tuple[str, ...] = ()
    """Labels `key` or `key=value`: the more of the first of them a host shares with the client, the sooner its turn."""
    distribute: tuple[Distribution, ...] = ()


def read(block: Field) -> LocalitySetting | None:
    """Read the block; None where there is none. Raises `Invalid`."""
    if not block.present:
        return None
    block.only("enabled", *_WAYS)
    given = [name for name in _WAYS if block.get(name).each()]
    if len(given) > 1:
        raise Invalid(block.get(given[1]).path, f"cannot be combined with {given[0]}")
    labels = block.get("failoverPriority")
    if len(labels.each()) > _MOST_LABELS:
        raise Invalid(labels.path, f"must have {_MOST_LABELS} labels at most")
    return LocalitySetting(
        enabled=block.get("enabled").boolean(default=True),
        failover=tuple(_failover(item) for item in block.get("failover").each()),
        priority=tuple(_label(item) for item in labels.each()),
        distribute=tuple(_distribution(item) for item in block.get("distribute").each()),
    )


def _failover(item: Field) -> tuple[str, str]:
    item.only("from", "to")
    origin, target = item.get("from"), item.get("to")
    for region in (origin, target):
        if set(region.text()) & set("/*"):
            raise Invalid(region.path, "must be the name of a region")
    if origin.text() == target.text():
        raise Invalid(target.path, "must be another region than from")
    return origin.text(), target.text()


def _label(item: Field) -> str:
    if item.text().startswith("="):
        raise Invalid(item.path, "must be a label's key, or key=value")
    return item.text()


def _distribution(item: Field) -> Distribution:
    item.only("from", "to")
    shares = tuple(
        (_pattern(Field(place, weight.path)), weight.integer(low=1, high=_WHOLE))
        for place, weight in item.get("to").entries().items()
    )
    if sum(weight for _, weight in shares) != _WHOLE:
        raise Invalid(item.get("to").path, f"weights must sum up to {_WHOLE}")
    return Distribution(_pattern(item.get("from")), shares)


def _pattern(item: Field) -> Locality:
    """`region/zone/subzone`, where `*` and what is left out mean any."""
    parts = item.text().split("/")
    if len(parts) > 3 or not all(parts):
        raise Invalid(item.path, "must be region/zone/subzone, with * for any")
    return Locality(*("" if part == "*" else part for part in parts))
