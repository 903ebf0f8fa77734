"""Consistent hashing: what of a request is hashed is said in routes, where it leads in clusters (`balancing`)."""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3.route_components_pb2 import RouteAction

from refmesh.api.load_balancer import HashKey
from refmesh.discovery import names
from refmesh.discovery.attachments import EVERYBODY, Attachments
from refmesh.discovery.packing import duration
from refmesh.discovery.routes import RouteSpec, route_configuration
from refmesh.discovery.service_clusters import variants

__all__ = ["Keys", "hash_actions", "hashed_routes", "keys"]

Keys = tuple[tuple[str, HashKey], ...]
"""Cluster name and what its requests are hashed by, sorted."""


def keys(attachments: Attachments, namespace: str) -> Keys:
    """The keys of every cluster that clients of a namespace hash to ("": of no particular one)."""
    found: dict[str, HashKey] = {}
    for scope, host in attachments.destination_rules:
        if scope not in {EVERYBODY, namespace}:
            continue
        name, _, rest = host.partition(".")
        service = attachments.snapshot.services.get((rest.partition(".")[0], name))
        rule = attachments.destination_rule(service, namespace) if service is not None else None
        if service is None or rule is None:
            continue
        for port in service.ports:
            for subset, _, policy in variants(rule, port.port):
                if policy.hashing is not None:
                    found[names.outbound_cluster(port.port, subset, rule.host)] = policy.hashing.key
    for one in attachments.outside:
        rule = attachments.rule_of_host(one.name, namespace)
        for subset, _, policy in variants(rule, one.port.number):
            if policy.hashing is not None:
                found[names.outbound_cluster(one.port.number, subset, one.name)] = policy.hashing.key
    return tuple(sorted(found.items(), key=lambda item: item[0]))


def hashed_routes(spec: RouteSpec, hash_keys: Keys) -> Any:
    """The route configuration of a service port, with what each action hashes by."""
    return hash_actions(route_configuration(spec), hash_keys)


def hash_actions(configuration: Any, hash_keys: Keys) -> Any:
    """The route configuration, with what each action hashes by."""
    known = dict(hash_keys)
    if not known:
        return configuration
    for host in configuration.virtual_hosts:
        for route in host.routes:
            if route.HasField("route"):
                _hash(route.route, known)
    return configuration


def _hash(action: Any, known: dict[str, HashKey]) -> None:
    targets = [action.cluster, *(item.name for item in action.weighted_clusters.clusters)]
    # One policy for several clusters: each hashes by what comes with the request, so a further one does no harm.
    action.hash_policy.extend(policy(key) for key in dict.fromkeys(known[name] for name in targets if name in known))


def policy(key: HashKey) -> Any:
    """How Envoy is told what to hash by."""
    found = RouteAction.HashPolicy()
    if key.kind == "header":
        found.header.header_name = key.name
    elif key.kind == "query":
        found.query_parameter.name = key.name
    elif key.kind == "cookie":
        found.cookie.name, found.cookie.path = key.name, key.path
        found.cookie.attributes.extend(
            RouteAction.HashPolicy.CookieAttribute(name=name, value=value) for name, value in key.attributes
        )
        if key.lifetime is not None:
            found.cookie.ttl.CopyFrom(duration(key.lifetime))
    else:
        found.connection_properties.source_ip = True
    return found
