"""How resources are called. Istio's names, because people and tools know them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BLACK_HOLE",
    "INBOUND_PASSTHROUGH",
    "PASSTHROUGH",
    "inbound_cluster",
    "inbound_route",
    "outbound_cluster",
    "outbound_clusters",
    "route_name",
    "sni",
]

PASSTHROUGH = "PassthroughCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
BLACK_HOLE = "BlackHoleCluster"


def outbound_cluster(port: int, subset: str, host: str) -> str:
    """The cluster for a port of a host, or of one of its subsets."""
    return f"outbound|{port}|{subset}|{host}"


def outbound_clusters(names: Iterable[str]) -> dict[tuple[int, str], list[str]]:
    """The names of such clusters by port and host: of the whole and of every subset."""
    found: dict[tuple[int, str], list[str]] = {}
    for name in names:
        kind, _, rest = name.partition("|")
        if kind == "outbound":
            port, _, host = rest.split("|")
            found.setdefault((int(port), host), []).append(name)
    return found


def direct_cluster(port: int, host: str) -> str:
    """The cluster for endpoints of a headless service, reached at their own addresses."""
    return f"direct|{port}||{host}"


def inbound_cluster(port: int) -> str:
    """The cluster for a port of the pod's own application."""
    return f"inbound|{port}||"


def inbound_route(port: int) -> str:
    """The route configuration for requests to a port of the pod's own application."""
    return f"inbound|{port}||"


def route_name(host: str, port: int) -> str:
    """The route configuration for requests to a port of a host."""
    return f"{host}:{port}"


def sni(port: int, subset: str, host: str) -> str:
    """The server name that a mesh client sends."""
    return f"outbound_.{port}_.{subset}_.{host}"
