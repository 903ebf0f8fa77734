"""Everything that the page shows at one moment, as values: pages are pure functions of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from refmesh.telemetry.traffic import Edge, Node

__all__ = ["WHOLE", "Certificate", "Proxy", "Refused", "View", "by_namespace", "of_namespace", "of_service"]


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
        rate = known.rate + edge.rate
        found[key] = Edge(
            *key,
            rate,
            (known.success * known.rate + edge.success * edge.rate) / rate,
            max(known.p50, edge.p50),
            max(known.p99, edge.p99),
            (known.secure * known.rate + edge.secure * edge.rate) / rate,
        )
    return tuple(sorted(found.values(), key=lambda edge: -edge.rate))
