"""Blocks of a DestinationRule that limit what goes to a host: connectionPool, outlierDetection, retryBudget."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from refmesh.api.fields import MILLISECOND, Field, Invalid

__all__ = [
    "ConnectionPool",
    "Keepalive",
    "OutlierDetection",
    "Probes",
    "RetryBudget",
    "read_outlier",
    "read_pool",
    "read_retry_budget",
]

_SECOND = timedelta(seconds=1)
# What Linux takes for TCP_KEEPCNT, TCP_KEEPIDLE and TCP_KEEPINTVL; a connection with more is not made at all.
_MOST_PROBES, _MOST_SECONDS = 127, 32_767


@dataclass(frozen=True)
class Probes:
    """TCP keepalive: after `time` of silence ask every `interval`, `count` times. None: as the kernel does."""

    count: int | None = None
    time: timedelta | None = None
    interval: timedelta | None = None


@dataclass(frozen=True)
class Keepalive:
    """HTTP/2 pings: one every `interval`, and the connection is closed if none is answered within `timeout`."""

    interval: timedelta
    timeout: timedelta


@dataclass(frozen=True)
class ConnectionPool:
    """Limits that one client proxy keeps towards a host. None means no limit."""

    max_connections: int | None = None
    connect_timeout: timedelta | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    idle_timeout: timedelta | None = None
    """Of connections that carry requests; zero: never."""
    tcp_idle_timeout: timedelta | None = None
    """Of connections that are not looked into, and of others where nothing is said of those; zero: never."""
    max_connection_duration: timedelta | None = None
    probes: Probes | None = None
    upgrade: bool = False
    """Requests go on as HTTP/2 whatever they came as."""
    client_protocol: bool = False
    """Requests go on as what they came as, at gateways and on ports said to speak HTTP/2 as well."""
    max_streams: int | None = None
    """Requests at once on a connection of HTTP/2."""
    keepalive: Keepalive | None = None


@dataclass(frozen=True)
class OutlierDetection:
    """When an endpoint is taken out, and for how long. None leaves Istio's default, 0 switches a detector off."""

    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    split_local_errors: bool = False
    consecutive_local_failures: int | None = None
    interval: timedelta | None = None
    base_ejection_time: timedelta | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int | None = None
    statuses: tuple[int, ...] = ()
    """The only HTTP statuses that count as errors; none: every 5xx."""


@dataclass(frozen=True)
class RetryBudget:
    """How many retries may be in flight: a share of the requests in flight, and always a few."""

    percent: float = 20.0
    min_retry_concurrency: int = 3


def read_pool(pool: Field) -> ConnectionPool | None:
    """Read `connectionPool`; None where there is none. Raises `Invalid`."""
    if not pool.present:
        return None
    pool.only("tcp", "http")
    tcp = pool.get("tcp").only(
        "maxConnections", "connectTimeout", "tcpKeepalive", "idleTimeout", "maxConnectionDuration"
    )
    http = pool.get("http").only(
        "http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries", "idleTimeout",
        "h2UpgradePolicy", "useClientProtocol", "maxConcurrentStreams", "http2KeepAlive",
    )  # fmt: skip
    upgrade = http.get("h2UpgradePolicy").choice("DEFAULT", "DO_NOT_UPGRADE", "UPGRADE", default="DEFAULT") == "UPGRADE"
    client_protocol = http.get("useClientProtocol").boolean()
    if upgrade and client_protocol:
        raise Invalid(f"{http.path}.h2UpgradePolicy", "UPGRADE contradicts useClientProtocol: leave out one of them")
    return ConnectionPool(
        max_connections=_limit(tcp.get("maxConnections")),
        connect_timeout=tcp.get("connectTimeout").duration(low=MILLISECOND),
        max_pending_requests=_limit(http.get("http1MaxPendingRequests")),
        max_requests=_limit(http.get("http2MaxRequests")),
        max_requests_per_connection=_limit(http.get("maxRequestsPerConnection")),
        max_retries=_limit(http.get("maxRetries")),
        idle_timeout=http.get("idleTimeout").duration(),
        tcp_idle_timeout=tcp.get("idleTimeout").duration(),
        max_connection_duration=tcp.get("maxConnectionDuration").duration(low=MILLISECOND),
        probes=_probes(tcp.get("tcpKeepalive")),
        upgrade=upgrade,
        client_protocol=client_protocol,
        max_streams=_limit(http.get("maxConcurrentStreams")),
        keepalive=_keepalive(http.get("http2KeepAlive")),
    )


def _limit(item: Field) -> int | None:
    """A limit; 0 and absent both mean none, as in Istio."""
    return item.integer(0) or None


def _probes(block: Field) -> Probes | None:
    if not block.present:
        return None
    block.only("probes", "time", "interval")
    count = block.get("probes").integer(0, high=_MOST_PROBES) or None
    return Probes(count, _seconds(block.get("time")), _seconds(block.get("interval")))


def _seconds(item: Field) -> timedelta | None:
    found = item.duration(low=_SECOND)
    if found is not None and found.total_seconds() > _MOST_SECONDS:
        raise Invalid(item.path, f"must be at most {_MOST_SECONDS}s")
    return found


def _keepalive(block: Field) -> Keepalive | None:
    if not block.present:
        return None
    block.only("interval", "timeout")
    interval, timeout = (block.get(key).duration(low=MILLISECOND) for key in ("interval", "timeout"))
    if interval is None or timeout is None:
        raise Invalid(f"{block.path}.{'interval' if interval is None else 'timeout'}", "is required")
    return Keepalive(interval, timeout)


def read_retry_budget(budget: Field) -> RetryBudget | None:
    """Read `retryBudget`; None where there is none. Raises `Invalid`."""
    if not budget.present:
        return None
    budget.only("percent", "minRetryConcurrency")
    return RetryBudget(budget.get("percent").number(20.0), budget.get("minRetryConcurrency").integer(3))


def read_outlier(outlier: Field) -> OutlierDetection | None:
    """Read `outlierDetection`; None where there is none. Raises `Invalid`."""
    if not outlier.present:
        return None
    outlier.only(
        "consecutive5xxErrors",
        "consecutiveGatewayErrors",
        "splitExternalLocalOriginErrors",
        "consecutiveLocalOriginFailures",
        "interval",
        "baseEjectionTime",
        "maxEjectionPercent",
        "minHealthPercent",
        "outlierDetectionHttpErrorCodes",
    )
    percent, healthy = outlier.get("maxEjectionPercent"), outlier.get("minHealthPercent")
    return OutlierDetection(
        consecutive_5xx=_count(outlier.get("consecutive5xxErrors")),
        consecutive_gateway_errors=_count(outlier.get("consecutiveGatewayErrors")),
        split_local_errors=outlier.get("splitExternalLocalOriginErrors").boolean(),
        consecutive_local_failures=_count(outlier.get("consecutiveLocalOriginFailures")),
        interval=outlier.get("interval").duration(low=MILLISECOND),
        base_ejection_time=outlier.get("baseEjectionTime").duration(low=MILLISECOND),
        max_ejection_percent=percent.integer(high=100) if percent.present else None,
        min_health_percent=healthy.integer(high=100) if healthy.present else None,
        statuses=tuple(
            sorted({item.integer(low=100, high=599) for item in outlier.get("outlierDetectionHttpErrorCodes").each()})
        ),
    )


def _count(item: Field) -> int | None:
    return item.integer() if item.present else None
