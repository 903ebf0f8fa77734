"""DestinationRule: subsets of a host, load balancing, limits and outlier detection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from refmesh.api import client_tls, limits, load_balancer
from refmesh.api.client_tls import ClientTls
from refmesh.api.export_to import EVERYWHERE, exported
from refmesh.api.fields import Field, Invalid
from refmesh.api.hostnames import covers
from refmesh.api.istio_gateway import HOST
from refmesh.api.limits import ConnectionPool, OutlierDetection, RetryBudget
from refmesh.api.load_balancer import ConsistentHash, Warmup
from refmesh.api.locality import LocalitySetting
from refmesh.api.meta import Meta, short_host

__all__ = ["MOST_SUBSETS", "NO_POLICY", "DestinationRule", "Subset", "TrafficPolicy"]

MOST_SUBSETS = 256
"""Each is a cluster more in every proxy of the mesh, at each port of the host."""


@dataclass(frozen=True)
class TrafficPolicy:
    """How traffic to a host, a port or a subset is handled. None in a subset's inherits from the host's."""

    balancer: str | None = None
    hashing: ConsistentHash | None = None
    """With the balancer CONSISTENT_HASH."""
    warmup: Warmup | None = None
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
        """This policy with the gaps filled from a wider one for the same port, whole blocks at a time as Istio does."""
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
        )

    def without_upgrade(self) -> TrafficPolicy:
        """The same, but for the wish that requests go on as HTTP/2."""
        pool = replace(self.pool, upgrade=False) if self.pool is not None else None
        ports = {number: policy.without_upgrade() for number, policy in self.ports.items()}
        return replace(self, pool=pool, ports=MappingProxyType(ports))

    def for_port(self, port: int) -> TrafficPolicy:
        """The policy for one port. Its own settings stand alone: what they leave out has its default, as in Istio."""
        return self.ports.get(port, self)


NO_POLICY = TrafficPolicy()


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
    exported: frozenset[str] = EVERYWHERE
    """The namespaces for whose clients it is; only beside its host, or in the root namespace, for those of others."""
    parts: tuple[DestinationRule, ...] = ()
    """Those that it was merged from, the oldest first; empty where it is one object."""

    @property
    def private(self) -> bool:
        """Whether it is for clients of some namespaces only."""
        return bool(self.exported)

    @classmethod
    def parse(cls, obj: Any, domain: str) -> DestinationRule:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "DestinationRule")
        spec = Field(obj, "").get("spec").only("host", "trafficPolicy", "subsets", "exportTo")
        subsets = tuple(_subset(item) for item in spec.get("subsets").each(most=MOST_SUBSETS))
        names = set[str]()
        for index, subset in enumerate(subsets):
            if subset.name in names:
                raise Invalid(f"spec.subsets[{index}].name", f"{subset.name!r} is used twice")
            names.add(subset.name)
        return cls(
            meta=meta,
            host=_host(spec.get("host"), meta.namespace, domain),
            policy=_policy(spec.get("trafficPolicy")),
            subsets=subsets,
            exported=exported(spec.get("exportTo"), meta.namespace),
        )

    @classmethod
    def closed(cls, obj: Any, reason: str, domain: str) -> DestinationRule:  # noqa: ARG003 - one signature for every kind
        """In place of one that cannot be read but asks for TLS: nothing goes to its host in plaintext.

        Where all that it asks for is the mesh's own, that is in force; else TLS that is never ready, since nobody would
        verify the server as the user wanted. For whose clients it is, it says itself, if that can be read. Raises
        `Invalid` where it asks for no TLS, or names no host.
        """
        meta = Meta.read(obj, "DestinationRule")
        spec = Field(obj, "").get("spec")
        modes = set(_modes(_object(spec.value)))
        if not modes:
            raise Invalid(spec.path, "asks for no TLS")
        mutual = modes == {"ISTIO_MUTUAL"}
        tls = ClientTls("ISTIO_MUTUAL") if mutual else client_tls.never_ready(f"{meta.namespace}/{meta.name}")
        try:
            to = exported(spec.get("exportTo"), meta.namespace)
        except Invalid:
            to = EVERYWHERE
        return cls(meta, _host(spec.get("host"), meta.namespace, domain), TrafficPolicy(tls=tls), exported=to)

    def without_upgrade(self) -> DestinationRule:
        """The same, but for the wish that requests go on as HTTP/2."""
        subsets = tuple(replace(subset, policy=subset.policy.without_upgrade()) for subset in self.subsets)
        parts = tuple(part.without_upgrade() for part in self.parts)
        return replace(self, policy=self.policy.without_upgrade(), subsets=subsets, parts=parts)

    def merged(self, younger: Iterable[DestinationRule]) -> DestinationRule:
        """This rule with what younger ones add to it, as in Istio: subsets, and a policy where there is none before."""
        policy, subsets, parts = self.policy, {subset.name: subset for subset in self.subsets}, [self]
        for rule in younger:
            new = {subset.name: subset for subset in rule.subsets if subset.name not in subsets}
            adds_policy = policy == NO_POLICY != rule.policy
            if new or adds_policy:
                policy = rule.policy if adds_policy else policy
                subsets |= new
                parts.append(rule)
        if len(parts) == 1:
            return self
        return replace(self, policy=policy, subsets=tuple(subsets.values()), parts=tuple(parts))

    def subset(self, name: str) -> Subset | None:
        """The subset of that name."""
        return next((subset for subset in self.subsets if subset.name == name), None)

    def policy_of(self, subset: str, port: int) -> TrafficPolicy:
        """What holds for a subset at a port; "" is the host as a whole. The subset's word wins over the host's."""
        host, found = self.policy.for_port(port), self.subset(subset) if subset else None
        if found is None:
            return host
        own = found.policy.for_port(port)
        # Settings for a port inherit nothing but the budget, which they cannot have.
        return replace(own, retry_budget=host.retry_budget) if port in found.policy.ports else own.over(host)


def _host(field: Field, namespace: str, domain: str) -> str:
    """The full name of a Service, or of a host of ServiceEntries, which may be a wildcard outside of the cluster."""
    host = field.text().lower().rstrip(".")
    if not HOST.fullmatch(host):
        raise Invalid(field.path, f"is no name of a host: {host!r}")
    full = short_host(host, namespace, domain)
    if host.startswith("*") and (host == "*" or covers(full, f"a.b.svc.{domain}") or full.endswith(f".{domain}")):
        raise Invalid(field.path, "must name a single Service; the mesh speaks its own TLS without a rule")
    return full


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
        pool=limits.read_pool(block.get("connectionPool")),
        outlier=limits.read_outlier(block.get("outlierDetection")),
        tls=client_tls.read(block.get("tls")),
        retry_budget=limits.read_retry_budget(block.get("retryBudget")),
        ports=MappingProxyType(ports),
    )
