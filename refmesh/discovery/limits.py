"""The limits of a cluster: how much may be under way, and when an endpoint is taken out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import UpstreamConnectionOptions
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection as OutlierProto
from envoy.config.core.v3.address_pb2 import TcpKeepalive
from envoy.type.v3.percent_pb2 import Percent

from refmesh.api.destination_rule import TrafficPolicy
from refmesh.api.limits import ConnectionPool, OutlierDetection, RetryBudget
from refmesh.discovery.packing import duration, uint32

__all__ = ["AS_USUAL", "StreamHandling", "circuit_breakers", "connection_options", "outlier_detection", "retry_budget"]

_NO_LIMIT = 2**32 - 1


@dataclass(frozen=True, slots=True)
class StreamHandling:
    """What a rule says of connections that are not looked into."""

    idle: timedelta | None = None
    """How long one may say nothing; zero: for ever, None: as usual."""
    longest: timedelta | None = None
    """How long one may last."""
    by_source: bool = False
    """Those of one client go to one endpoint."""

    @classmethod
    def of(cls, policy: TrafficPolicy) -> StreamHandling:
        """What a policy says of them."""
        pool = policy.pool or ConnectionPool()
        by_source = policy.hashing is not None and policy.hashing.key.kind == "source-ip"
        return cls(pool.tcp_idle_timeout, pool.max_connection_duration, by_source)


AS_USUAL = StreamHandling()


def circuit_breakers(pool: ConnectionPool) -> Any:
    """Limits; what is not limited is not limited by Envoy's own defaults either."""

    def limit(value: int | None) -> Any:
        return uint32(value if value is not None else _NO_LIMIT)

    return CircuitBreakers(
        thresholds=[
            CircuitBreakers.Thresholds(
                max_connections=limit(pool.max_connections),
                max_pending_requests=limit(pool.max_pending_requests),
                max_requests=limit(pool.max_requests),
                max_retries=limit(pool.max_retries),
                track_remaining=True,
            )
        ]
    )


def retry_budget(budget: RetryBudget) -> Any:
    """The most retries in flight. It stands in for a fixed limit on them."""
    return CircuitBreakers.Thresholds.RetryBudget(
        budget_percent=Percent(value=budget.percent), min_retry_concurrency=uint32(budget.min_retry_concurrency)
    )


def outlier_detection(outlier: OutlierDetection) -> Any:
    """When endpoints are ejected. Only counted errors eject; Envoy's statistical detectors stay off, as in Istio."""
    found = OutlierProto(enforcing_success_rate=uint32(0), enforcing_failure_percentage=uint32(0))
    if outlier.consecutive_5xx is not None:
        found.consecutive_5xx.value = outlier.consecutive_5xx
        found.enforcing_consecutive_5xx.value = 100 if outlier.consecutive_5xx else 0
    if outlier.consecutive_gateway_errors is not None:
        found.consecutive_gateway_failure.value = outlier.consecutive_gateway_errors
        found.enforcing_consecutive_gateway_failure.value = 100 if outlier.consecutive_gateway_errors else 0
    found.split_external_local_origin_errors = outlier.split_local_errors
    if outlier.split_local_errors:
        found.enforcing_local_origin_success_rate.value = 0
        if outlier.consecutive_local_failures is not None:
            found.consecutive_local_origin_failure.value = outlier.consecutive_local_failures
            found.enforcing_consecutive_local_origin_failure.value = 100 if outlier.consecutive_local_failures else 0
    if outlier.interval is not None:
        found.interval.CopyFrom(duration(outlier.interval))
    if outlier.base_ejection_time is not None:
        found.base_ejection_time.CopyFrom(duration(outlier.base_ejection_time))
    if outlier.max_ejection_percent is not None:
        found.max_ejection_percent.value = outlier.max_ejection_percent
    return found


def connection_options(pool: ConnectionPool) -> Any:
    """What is asked of the kernel for each connection; None where nothing is."""
    if pool.probes is None:
        return None
    found, probes = TcpKeepalive(), pool.probes
    if probes.count is not None:
        found.keepalive_probes.value = probes.count
    if probes.time is not None:
        found.keepalive_time.value = int(probes.time.total_seconds())
    if probes.interval is not None:
        found.keepalive_interval.value = int(probes.interval.total_seconds())
    return UpstreamConnectionOptions(tcp_keepalive=found)
