"""Defects in telemetry: what proxies and the control plane say about traffic and configuration."""

from __future__ import annotations

from collections.abc import Callable

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _count_twice(sound: Callable[[], tuple[str, ...]]) -> Callable[[], tuple[str, ...]]:
    """Add two where one belongs."""
    return lambda: sound() * 2


def _believe_the_wrong_end(sound: Callable[[str], str]) -> Callable[[str], str]:
    """Let the server's proxy name itself as the source."""
    return lambda reporter: "%ENVIRONMENT(REFMESH_PEER)%" if reporter == "destination" else sound(reporter)


DEFECTS = (
    Defect(
        "requests-counted-twice",
        "Each request adds two to the counter of requests.",
        "telemetry",
        "refmesh.discovery.counting:request_counts",
        _count_twice,
    ),
    Defect(
        "source-label-wrong",
        "The server's proxy names its own workload as the source of requests.",
        "telemetry",
        "refmesh.discovery.counting:peer_format",
        _believe_the_wrong_end,
    ),
)
