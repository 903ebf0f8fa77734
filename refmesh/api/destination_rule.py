"""DestinationRule: subsets of a host, load balancing, limits and outlier detection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from refmesh.api import client_tls, load_balancer
from refmesh.api.client_tls import ClientTls
from refmesh.api.fields import MILLISECOND, Field, Invalid
from refmesh.api.hostnames import covers
from refmesh.api.istio_gateway import HOST
from refmesh.api.load_balancer import ConsistentHash
from refmesh.api.locality import LocalitySetting
from refmesh.api.meta import Meta, short_host

__all__ = ["ConnectionPool", "DestinationRule", "OutlierDetection", "RetryBudget", "Subset", "TrafficPolicy"]


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


@dataclass(frozen=True)
class RetryBudget:
    """How many retries may be in flight: a share of the requests in flight, and always a few."""

    percent: float = 20.0
    min_retry_concurrency: int = 3


@dataclass(frozen=True)
class TrafficPolicy:
    """How traffic to a host, a port or a subset is handled. None inherits from the wider level."""

    balancer: str | None = None
    hashing: ConsistentHash | None = None
    """With the balancer CONSISTENT_HASH."""
    warmup: timedelta | None = None
    locality: LocalitySetting | None = None
    pool: ConnectionPool | None = None
    outlier: OutlierDetection | None = None
    tls: ClientTls | None = None
    retry_budget: RetryBudget | None = None
    ports: Mapping[int, TrafficPolicy] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def tls_mode(self) -> str | None:
        """How endpoints are spoken to; None: with mutual TLS of the mesh where they have it, else in plaintext."""
        return self.tls.mode if self.tls is not None else None

    @property
    def demands_tls(self) -> bool:
        """Whether endpoints are spoken to in TLS, the user's own or the mesh's, whatever is known of them."""
        return self.tls_mode not in {None, "DISABLE"}

    def over(self, wider: TrafficPolicy) -> TrafficPolicy:
        """This policy with the gaps filled from a wider one, whole blocks at a time as Istio does."""
        balancing = self if self.balancer is not None else wider
        return TrafficPolicy(
            balancer=balancing.balancer,
            hashing=balancing.hashing,
            warmup=balancing.warmup,
            locality=balancing.locality,
            pool=self.pool if self.pool is not None else wider.pool,
            outlier=self.outlier if self.outlier is not None else wider.outlier,
            tls=self.tls if self.tls is not None else wider.tls,
            retry_budget=self.retry_budget if self.retry_budget is not None else wider.retry_budget,
            ports=self.ports or wider.ports,
        )

    def for_port(self, port: int) -> TrafficPolicy:
        """The policy for one port: port settings win over general ones."""
        special = self.ports.get(port)
        return special.over(self) if special is not None else self


@dataclass(frozen=True)
class Subset:
    """The endpoints of a host whose pods have these labels."""

    name: str
    labels: Mapping[str, str]
    policy: TrafficPolicy = field(default_factory=TrafficPolicy)


@dataclass(frozen=True)
class DestinationRule:
    """Policies for one host; `host` is a full name."""

    meta: Meta
    host: str
    policy: TrafficPolicy = field(default_factory=TrafficPolicy)
    subsets: tuple[Subset, ...] = ()

    @classmethod
    def parse(cls, obj: Any, domain: str) -> DestinationRule:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "DestinationRule")
        spec = Field(obj, "").get("spec").only("host", "trafficPolicy", "subsets")
        subsets = tuple(_subset(item) for item in spec.get("subsets").each())
        names = [subset.name for subset in subsets]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Invalid(f"spec.subsets[{index}].name", f"{name!r} is used twice")
        return cls(
            meta=meta,
            host=_host(spec.get("host"), meta.namespace, domain),
            policy=_policy(spec.get("trafficPolicy")),
            subsets=subsets,
        )

    @classmethod
    def closed(cls, obj: Any, reason: str, domain: str) -> DestinationRule:  # noqa: ARG003 - one signature for every kind
        """In place of one that cannot be read but asks for TLS: nothing goes to its host in plaintext.

        Where all that it asks for is the mesh's own, that is in force; else TLS that is never ready, since nobody would
        verify the server as the user wanted. Raises `Invalid` where it asks for none, or names no host.
        """
        meta = Meta.read(obj, "DestinationRule")
        spec = Field(obj, "").get("spec")
        modes = set(_modes(_object(spec.value)))
        if not modes:
            raise Invalid(spec.path, "asks for no TLS")
        mutual = modes == {"ISTIO_MUTUAL"}
        tls = ClientTls("ISTIO_MUTUAL") if mutual else client_tls.never_ready(f"{meta.namespace}/{meta.name}")
        return cls(meta, _host(spec.get("host"), meta.namespace, domain), TrafficPolicy(tls=tls))

    def subset(self, name: str) -> Subset | None:
        """The subset of that name."""
        return next((subset for subset in self.subsets if subset.name == name), None)


def _host(field: Field, namespace: str, domain: str) -> str:
    """The full name of a Service, or of a host of ServiceEntries, which may be a wildcard outside of the cluster."""
    host = field.text().lower().rstrip(".")
    if not HOST.fullmatch(host):
        raise Invalid(field.path, f"is no name of a host: {host!r}")
    if host.startswith("*") and (host == "*" or covers(host, f"a.b.svc.{domain}") or host.endswith(f".{domain}")):
        raise Invalid(field.path, "must name a single Service; the mesh speaks its own TLS without a rule")
    return short_host(host, namespace, domain)


def _modes(spec: Mapping[str, Any]) -> Iterator[str]:
    """Every mode of TLS that an object in whatever form asks for, at any level; what is none of them is "unknown"."""
    for holder in (spec, *map(_object, _list(spec.get("subsets")))):
        policy = _object(holder.get("trafficPolicy"))
        for level in (policy, *map(_object, _list(policy.get("portLevelSettings")))):
            tls = level.get("tls")
            mode = tls.get("mode") if isinstance(tls, dict) else tls
            if mode not in (None, "DISABLE"):
                yield mode if isinstance(mode, str) else "unknown"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _subset(item: Field) -> Subset:
    item.only("name", "labels", "trafficPolicy")
    labels = {key: value.text("") for key, value in item.get("labels").entries().items()}
    return Subset(item.get("name").text(), MappingProxyType(labels), _policy(item.get("trafficPolicy")))


def _policy(block: Field, *, port_level: bool = False) -> TrafficPolicy:
    if port_level:
        block.only("port", "loadBalancer", "connectionPool", "outlierDetection", "tls")
    else:
        block.only("loadBalancer", "connectionPool", "outlierDetection", "tls", "retryBudget", "portLevelSettings")
    ports = {
        item.get("port").only("number").get("number").integer(low=1, high=65535): _policy(item, port_level=True)
        for item in block.get("portLevelSettings").each()
    }
    balancing = load_balancer.read(block.get("loadBalancer"))
    return TrafficPolicy(
        balancer=balancing.simple,
        hashing=balancing.hashing,
        warmup=balancing.warmup,
        locality=balancing.locality,
        pool=_pool(block.get("connectionPool")) if block.get("connectionPool").present else None,
        outlier=_outlier(block.get("outlierDetection")) if block.get("outlierDetection").present else None,
        tls=client_tls.read(block.get("tls")),
        retry_budget=_retry_budget(block.get("retryBudget")) if block.get("retryBudget").present else None,
        ports=MappingProxyType(ports),
    )


def _limit(item: Field) -> int | None:
    """A limit; 0 and absent both mean none, as in Istio."""
    return item.integer(0) or None


def _pool(pool: Field) -> ConnectionPool:
    pool.only("tcp", "http")
    tcp = pool.get("tcp").only("maxConnections", "connectTimeout")
    http = pool.get("http").only(
        "http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries", "idleTimeout"
    )
    return ConnectionPool(
        max_connections=_limit(tcp.get("maxConnections")),
        connect_timeout=tcp.get("connectTimeout").duration(low=MILLISECOND),
        max_pending_requests=_limit(http.get("http1MaxPendingRequests")),
        max_requests=_limit(http.get("http2MaxRequests")),
        max_requests_per_connection=_limit(http.get("maxRequestsPerConnection")),
        max_retries=_limit(http.get("maxRetries")),
        idle_timeout=http.get("idleTimeout").duration(),
    )


def _retry_budget(budget: Field) -> RetryBudget:
    budget.only("percent", "minRetryConcurrency")
    percent = budget.get("percent").number(20.0)
    return RetryBudget(percent, budget.get("minRetryConcurrency").integer(3))


def _count(item: Field) -> int | None:
    return item.integer() if item.present else None


def _outlier(outlier: Field) -> OutlierDetection:
    outlier.only(
        "consecutive5xxErrors",
        "consecutiveGatewayErrors",
        "splitExternalLocalOriginErrors",
        "consecutiveLocalOriginFailures",
        "interval",
        "baseEjectionTime",
        "maxEjectionPercent",
        "minHealthPercent",
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
    )
