"""Random changes of a mesh's configuration, none of which asks for a single request to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

__all__ = ["SERVERS", "Change", "changes", "rules"]

ISTIO, SECURITY, GATEWAY = "networking.istio.io/v1", "security.istio.io/v1", "gateway.networking.k8s.io/v1"
SERVERS = ("left-v1", "left-v2", "right-v1", "right-v2")
"""Deployments: two versions of the services `left` and `right`, and a service of its own for each."""
MOST_REPLICAS = 3
Object = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One change. Exactly one of `apply`, `delete` and `scale` is given."""

    what: str
    apply: Object | None = None
    delete: tuple[str, str, str] | None = None
    """apiVersion, kind and name."""
    scale: tuple[str, int] | None = None
    """Deployment and replicas."""
    refused: bool = False
    """The webhook must refuse it."""


def changes(random: Random, namespace: str) -> Iterator[Change]:
    """Changes without end, in an order in which each leaves a configuration that serves every request."""
    makers: tuple[Callable[[Random, str], Change], ...] = (
        _virtual_service, _virtual_service, _rules_again, _http_route, _http_route, _peers, _rights, _entry,
        _unresolved, _invalid, _replicas,
    )  # fmt: skip
    while True:
        yield random.choice(makers)(random, namespace)


def rules(random: Random, namespace: str) -> Object:
    """The rule that names the subsets of `left`. It stays: a route without it leads nowhere."""
    balancer = random.choice(
        (
            {"simple": "ROUND_ROBIN"},
            {"simple": "LEAST_REQUEST"},
            {"simple": "RANDOM"},
            {"consistentHash": {"httpHeaderName": "x-user"}},
        )
    )
    policy: Object = {
        "loadBalancer": balancer,
        "connectionPool": {"http": {"http2MaxRequests": random.randint(500, 900)}},
    }
    if random.random() < 0.5:
        policy["outlierDetection"] = {"consecutive5xxErrors": random.randint(3, 9), "interval": "1s"}
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    spec = {"host": "left", "trafficPolicy": policy, "subsets": subsets}
    return _object(ISTIO, "DestinationRule", "left", namespace, spec)


def _rules_again(random: Random, namespace: str) -> Change:
    return Change("another policy of left", apply=rules(random, namespace))


def _virtual_service(random: Random, namespace: str) -> Change:
    if random.random() < 0.15:
        return Change("no VirtualService", delete=(ISTIO, "VirtualService", "left"))
    first = random.randint(0, 100)
    rule: Object = {
        "route": [
            {"destination": {"host": "left", "subset": "v1"}, "weight": first},
            {"destination": {"host": "left", "subset": "v2"}, "weight": 100 - first},
        ],
        "headers": {"response": {"set": {"x-change": str(random.randint(0, 1000))}}},
    }
    for name, value in (
        ("timeout", f"{random.randint(8, 20)}s"),
        ("retries", {"attempts": random.randint(0, 3), "perTryTimeout": "5s"}),
        ("mirror", {"host": "right-v2"}),
        ("fault", {"delay": {"percentage": {"value": random.randint(1, 100)}, "fixedDelay": "0.02s"}}),
    ):
        if random.random() < 0.3:
            rule[name] = value
    special = {"match": [{"headers": {"x-user": {"exact": "vip"}}}], "route": [{"destination": {"host": "left-v2"}}]}
    http = [special, rule] if random.random() < 0.5 else [rule]
    spec = {"hosts": ["left"], "http": http}
    return Change(f"left {first}:{100 - first}", apply=_object(ISTIO, "VirtualService", "left", namespace, spec))


def _http_route(random: Random, namespace: str) -> Change:
    if random.random() < 0.15:
        return Change("no HTTPRoute", delete=(GATEWAY, "HTTPRoute", "right"))
    first = random.randint(0, 10)
    mark = {"set": [{"name": "x-right", "value": str(first)}]}
    rule: Object = {
        "backendRefs": [
            {"name": "right-v1", "port": 8080, "weight": first},
            {"name": "right-v2", "port": 8080, "weight": 10 - first},
        ],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": mark}],
    }
    if random.random() < 0.5:
        rule["timeouts"] = {"request": f"{random.randint(8, 20)}s"}
    spec = {"parentRefs": [{"group": "", "kind": "Service", "name": "right", "port": 8080}], "rules": [rule]}
    return Change(f"right {first}:{10 - first}", apply=_object(GATEWAY, "HTTPRoute", "right", namespace, spec))


def _peers(random: Random, namespace: str) -> Change:
    mode = random.choice(("STRICT", "PERMISSIVE", None))
    if mode is None:
        return Change("no PeerAuthentication", delete=(SECURITY, "PeerAuthentication", "default"))
    spec = {"mtls": {"mode": mode}}
    return Change(f"mTLS {mode}", apply=_object(SECURITY, "PeerAuthentication", "default", namespace, spec))


def _rights(random: Random, namespace: str) -> Change:
    name = random.choice(("may", "may-not"))
    if random.random() < 0.3:
        return Change(f"no policy {name}", delete=(SECURITY, "AuthorizationPolicy", name))
    if name == "may-not":
        source, action = {"principals": [f"cluster.local/ns/{namespace}/sa/nobody-{random.randint(0, 9)}"]}, "DENY"
    else:
        source, action = {"namespaces": [namespace]}, "ALLOW"
    spec = {"action": action, "rules": [{"from": [{"source": source}]}]}
    return Change(f"policy {name}", apply=_object(SECURITY, "AuthorizationPolicy", name, namespace, spec))


def _entry(random: Random, namespace: str) -> Change:
    name = f"outside-{random.randint(0, 4)}"
    if random.random() < 0.4:
        return Change(f"no {name}", delete=(ISTIO, "ServiceEntry", name))
    spec = {
        "hosts": [f"{name}.example"],
        "addresses": [f"203.0.113.{random.randint(1, 250)}"],
        "ports": [{"number": random.choice((80, 443)), "name": "tcp", "protocol": "TCP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": "203.0.113.254"}],
    }
    return Change(name, apply=_object(ISTIO, "ServiceEntry", name, namespace, spec))


def _unresolved(random: Random, namespace: str) -> Change:
    """A route of another service that leads nowhere: its status says so, and it hurts no other."""
    if random.random() < 0.5:
        return Change("no route to nowhere", delete=(GATEWAY, "HTTPRoute", "nowhere"))
    parents = [{"group": "", "kind": "Service", "name": "right-v1", "port": 7070}]
    spec = {"parentRefs": parents, "rules": [{"backendRefs": [{"name": f"gone-{random.randint(0, 9)}", "port": 80}]}]}
    return Change("a route to nowhere", apply=_object(GATEWAY, "HTTPRoute", "nowhere", namespace, spec))


def _invalid(random: Random, namespace: str) -> Change:
    weight = random.choice((-1, 1000))
    spec = {
        "hosts": ["left"],
        "http": [{"route": [{"destination": {"host": "left"}, "weight": weight}], "timeout": "x"}],
    }
    return Change(
        "an invalid VirtualService", apply=_object(ISTIO, "VirtualService", "left", namespace, spec), refused=True
    )


def _replicas(random: Random, namespace: str) -> Change:
    del namespace
    server, replicas = random.choice(SERVERS), random.randint(1, MOST_REPLICAS)
    return Change(f"{server} x {replicas}", scale=(server, replicas))


def _object(version: str, kind: str, name: str, namespace: str, spec: Object) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
