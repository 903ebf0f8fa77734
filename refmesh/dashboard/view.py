"""Everything that the page shows at one moment, as values: pages are pure functions of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from refmesh.telemetry.traffic import Edge, Node

__all__ = ["WHOLE", "Certificate", "Proxy", "Refused", "View", "by_namespace", "of_namespace", "of_service", "share"]


WHOLE = "all services"
"""Stands for a whole namespace; no service can be called so."""


@dataclass(frozen=True)
class Proxy:
    """A connected proxy. `problems`: what it has rejected, by resource type."""

    name: str
    in_step: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """An object that is not in force."""

    kind: str
    namespace: str
    name: str
    reason: str


@dataclass(frozen=True)
class Certificate:
    """A certificate and when it ends, epoch seconds."""

    owner: str
    not_after: float


@dataclass(frozen=True)
class View:
    """The mesh at one moment."""

    now: float
    edges: tuple[Edge, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    refused: tuple[Refused, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    unreachable: tuple[tuple[str, str], ...] = ()
    """Pods whose metrics could not be read, and why."""
    replica: str = ""
    """The pod of the control plane whose `proxies` these are."""
    others: tuple[str, ...] = ()
    """The pods of its other replicas."""
    elsewhere: int = 0
    """Pods with a proxy that is not among these."""


def of_namespace(edges: Sequence[Edge], namespace: str) -> tuple[Edge, ...]:
    """The edges that touch a namespace."""
    return tuple(edge for edge in edges if namespace in {edge.source[0], edge.destination[0]})


def of_service(edges: Sequence[Edge], node: Node) -> tuple[Edge, ...]:
    """The edges that begin or end at a service."""
    return tuple(edge for edge in edges if node in {edge.source, edge.destination})


def by_namespace(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """The same traffic between namespaces. Quantiles are those of the slowest part: they cannot be added up."""
    found: dict[tuple[Node, Node], Edge] = {}
    for edge in edges:
        key = ((edge.source[0], WHOLE), (edge.destination[0], WHOLE))
        known = found.get(key)
        if known is None:
            found[key] = replace(edge, source=key[0], destination=key[1])
            continue
        found[key] = Edge(
            *key,
            known.rate + edge.rate,
            share((one.success, one.rate) for one in (known, edge)),
            max(known.p50, edge.p50),
            max(known.p99, edge.p99),
            share((one.secure, one.weight) for one in (known, edge)),
            known.connections + edge.connections,
        )
    return tuple(sorted(found.values(), key=lambda edge: -edge.weight))


def share(parts: Iterable[tuple[float, float]]) -> float:
    """The share, 0 to 1, of the whole whose parts are given with their weights; 1 for none."""
    whole = list(parts)
    total = sum(weight for _, weight in whole)
    return sum(one * weight for one, weight in whole) / total if total else 1.0
