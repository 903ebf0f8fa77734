"""Defects in telemetry: what proxies and the control plane say about traffic and configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from refmesh.api.peer_authentication import MtlsMode
from refmesh.defects.defect import Defect
from refmesh.discovery.packing import pack

__all__ = ["DEFECTS"]

_HTTP = ".http_connection_manager"


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


def _servers_only(sound: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Count where requests arrive, and not where they are sent."""

    def requests(reporter: str, target: str = "", peer: str = "") -> list[Any]:
        return [] if reporter == "source" else sound(reporter, target, peer)

    return requests


def _nothing_logged(sound: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Write no access log, whatever was asked for."""
    _ = sound
    return lambda *_, **__: []


def _no_flags(sound: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Forget why a request was not forwarded."""

    def tags(reporter: str, target: str, peer: str) -> list[Any]:
        found = sound(reporter, target, peer)
        for one in found:
            if one.name == "response_flags":
                one.value_format = "-"
        return found

    return tags


def _uncounted_where_strict(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Neither count nor log what comes to a port that takes mTLS only."""

    def port_chains(settings: Any, port: Any, inbound: Any) -> Any:
        chains = sound(settings, port, inbound)
        strict = port.mode is MtlsMode.STRICT
        for one in (one for chain in chains if strict for one in chain.filters if one.name.endswith(_HTTP)):
            manager = HttpConnectionManager.FromString(one.typed_config.value)
            del manager.access_log[:]
            one.typed_config.CopyFrom(pack(manager))
        return chains

    return port_chains


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
    Defect(
        "clients-do-not-count",
        "Requests are counted by the server's proxy only.",
        "telemetry",
        "refmesh.discovery.counting:requests",
        _servers_only,
    ),
    Defect(
        "access-log-lost",
        "Nothing is written to the access log.",
        "telemetry",
        "refmesh.discovery.filters:access_log",
        _nothing_logged,
    ),
    Defect(
        "refusals-uncounted",
        "What a cap refuses is counted like any other answer.",
        "circuit-breaking",
        "refmesh.discovery.counting:_tags",
        _no_flags,
    ),
    Defect(
        "strict-uncounted",
        "Requests to STRICT workloads are not counted where they arrive.",
        "telemetry",
        "refmesh.discovery.inbound:port_chains",
        _uncounted_where_strict,
    ),
)
