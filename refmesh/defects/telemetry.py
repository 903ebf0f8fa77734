"""Defects in telemetry: what proxies and the control plane say about traffic and configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _count_twice(sound: Callable[[], tuple[str, ...]]) -> Callable[[], tuple[str, ...]]:
    """Add two where one belongs."""
    return lambda: sound() * 2


def _believe_the_wrong_end(sound: Callable[[str], str]) -> Callable[[str], str]:
    """Let the server's proxy name itself as the source."""
    return lambda reporter: "%ENVIRONMENT(REFMESH_PEER)%" if reporter == "destination" else sound(reporter)


def _lose_the_context(sound: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Take the trace context off every request before anybody has looked at it."""

    def before_tracing(*, trace_b3: bool) -> tuple[Any, ...]:
        return (HeaderMutation(remove="traceparent"), *sound(trace_b3=trace_b3))

    return before_tracing


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
    Defect(
        "trace-context-not-forwarded",
        "Each proxy begins a trace of its own, whatever trace a request belongs to.",
        "telemetry",
        "refmesh.discovery.tracing:before_tracing",
        _lose_the_context,
    ),
)
