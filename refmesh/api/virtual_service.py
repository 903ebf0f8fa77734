"""VirtualService: routing for hosts, in the order that the object gives.

Its http routes are read in http_rules.py, its tcp and tls routes in stream_routes.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from refmesh.api.export_to import EVERYWHERE, exported
from refmesh.api.fields import Field, Invalid
from refmesh.api.http_rules import read_rule, without_effect
from refmesh.api.istio_gateway import HOST
from refmesh.api.meta import Meta, short_host
from refmesh.api.routing import Match, Rule
from refmesh.api.stream_routes import MESH, StreamMatch, StreamRule, gateway_names, stream_rules

__all__ = ["VirtualService"]


@dataclass(frozen=True)
class VirtualService:
    """Rules for requests to `hosts` (full names); the first rule that matches decides.

    `gateways` are the Gateways (namespace/name) and the `mesh` that it is for.
    """

    meta: Meta
    hosts: tuple[str, ...]
    rules: tuple[Rule, ...]
    streams: tuple[StreamRule, ...] = ()
    gateways: tuple[str, ...] = (MESH,)
    outside: tuple[str, ...] = ()
    """The hosts as clients at a Gateway call them: as they are written, "" for every one."""
    exported: frozenset[str] = EVERYWHERE
    """The namespaces to whose clients and gateways it speaks."""
    idle: tuple[str, ...] = ()
    """A sentence for each of its fields that does nothing, wherever it is in force."""

    @property
    def is_delegate(self) -> bool:
        """Whether it has no hosts: its rules are for VirtualServices that name it."""
        return not self.hosts

    def speaks_to(self, namespace: str) -> bool:
        """Whether it is there for the clients and gateways of a namespace."""
        return not self.exported or namespace in self.exported

    def rules_for(self, gateway: str) -> tuple[Rule, ...]:
        """The HTTP rules that hold at a Gateway, or in the `mesh`."""
        if gateway not in self.gateways:
            return ()
        found = []
        for rule in self.rules:
            matches = tuple(match for match in rule.matches if not match.gateways or gateway in match.gateways)
            # A rule all of whose matches are for somewhere else must not become one for every request here.
            if matches or not rule.matches:
                found.append(replace(rule, matches=matches))
        return tuple(found)

    @property
    def source_namespaces(self) -> frozenset[str]:
        """The namespaces whose clients a match asks for."""
        return frozenset(match.source_namespace for match in self._matches if match.source_namespace)

    @property
    def by_labels(self) -> bool:
        """Whether clients are told apart by the labels of their pods."""
        return bool(self.asked_labels)

    @property
    def asked_labels(self) -> frozenset[str]:
        """The names of the labels that clients' pods are asked for."""
        return frozenset(name for match in self._matches for name, _ in match.source_labels)

    @property
    def _matches(self) -> tuple[Match | StreamMatch, ...]:
        requests = (match for rule in self.rules for match in rule.matches)
        return (*requests, *(match for rule in self.streams for match in rule.matches))

    @classmethod
    def parse(cls, obj: Any, domain: str) -> VirtualService:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "VirtualService")
        spec = Field(obj, "").get("spec").only("hosts", "http", "tcp", "tls", "gateways", "exportTo")
        scopes = exported(spec.get("exportTo"), meta.namespace)
        gateways = gateway_names(spec, meta.namespace) or (MESH,)
        in_mesh = MESH in gateways  # asked once: there may be as many of these as hosts
        written = tuple(_host(host, in_mesh=in_mesh) for host in spec.get("hosts").each())
        if not written:
            _check_delegate(spec)
        hosts = tuple(short_host(host, meta.namespace, domain) for host in written)
        rules = tuple(read_rule(item, meta.namespace, domain) for item in spec.get("http").each())
        streams = stream_rules(spec, meta.namespace, domain, gateways)
        if not rules and not streams:
            raise Invalid("spec.http", "needs at least one rule, or spec.tcp or spec.tls does")
        outside = tuple("" if host == "*" else host for host in written)
        return cls(meta, hosts, rules, streams, gateways, outside, scopes, tuple(without_effect(rules)))


def _check_delegate(spec: Field) -> None:
    """Without hosts it is a delegate: http routes alone. For whom and where they are, the one that delegates says."""
    if not spec.get("http").present:
        raise Invalid("spec.hosts", "is required, but for a delegate, which has http routes")
    for key in ("gateways", "tcp", "tls"):
        if spec.get(key).each():
            raise Invalid(f"spec.{key}", "is nothing that a delegate has: give spec.hosts, or leave it out")
    for item in spec.get("http").each():
        if item.get("delegate").present:
            raise Invalid(
                f"{item.path}.delegate", "cannot stand in a delegate, which has no spec.hosts: one level is all"
            )
        for match in item.get("match").each():
            for key in ("gateways", "sourceLabels", "sourceNamespace"):
                if match.get(key).present:
                    word = (
                        "is for the VirtualService that delegates to say, not for a delegate, which has no spec.hosts"
                    )
                    raise Invalid(f"{match.path}.{key}", word)


def _host(field: Field, *, in_mesh: bool) -> str:
    host = field.text().lower().rstrip(".")
    if "*" in host and not HOST.fullmatch(host):
        raise Invalid(field.path, "may have a * as its first label only")
    if host == "*" and in_mesh:
        # As in Istio: anyone could route for every Service there is.
        raise Invalid(field.path, "must not be * for sidecars (`mesh`): name hosts, or give gateways without `mesh`")
    return host
