"""The clusters of hosts outside, as clients of a namespace see them: the host as a whole, and each of its subsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from refmesh.api.destination_rule import TrafficPolicy
from refmesh.api.service_entry import EntryEndpoint
from refmesh.config.model import Protocol
from refmesh.config.outside import OutsideHost
from refmesh.discovery import clusters, endpoints, locality, names
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.service_clusters import variants

__all__ = ["Plan", "plans", "special"]

_PROTOCOLS = {"http": Protocol.HTTP, "http2": Protocol.HTTP2, "tls": Protocol.TCP, "tcp": Protocol.TCP}


@dataclass(frozen=True)
class Plan:
    """A resource to make: `inputs` is all that it depends on."""

    kind: ResourceType
    name: str
    inputs: Any
    make: Callable[[], Any]
    seen: locality.Plan | None = None
    """Of endpoints that do not look the same from everywhere."""


def special(attachments: Attachments, namespace: str) -> Iterator[OutsideHost]:
    """The hosts whose clusters clients of a namespace see otherwise than others, by rules of their own."""
    names = attachments.outside_ruled(namespace)
    return (one for one in attachments.outside if one.name in names)


def plans(attachments: Attachments, one: OutsideHost, namespace: str) -> Iterator[Plan]:
    """The clusters of a host at a port; the endpoints of those that do not look them up."""
    number, resolution = one.port.number, one.entry.resolution
    for subset, labels, found in variants(attachments.rule_of_host(one.name, namespace), number):
        # What is looked up by the proxy itself is from everywhere the same.
        policy = replace(found, locality=None) if resolution == "DNS" else found
        name = names.outbound_cluster(number, subset, one.name)
        hosts = tuple(_placed(endpoint, one) for endpoint in _chosen(one, labels))
        looked_up = tuple(host.address for host in hosts) if resolution == "DNS" else ()
        spec = clusters.ExternalCluster(name, resolution, looked_up, _PROTOCOLS[one.port.protocol], policy)
        yield Plan(ResourceType.CLUSTER, name, spec, partial(clusters.external_cluster, spec, attachments.settings))
        if resolution == "STATIC":
            yield _endpoints(name, policy, hosts)


def _chosen(one: OutsideHost, labels: Mapping[str, str]) -> Iterator[EntryEndpoint]:
    """The endpoints with the labels of a subset. Of a name that is looked up nothing is known but the name."""
    of_entry = one.entry.endpoints
    if one.entry.resolution == "DNS" and not of_entry:
        of_entry = (EntryEndpoint(one.name),)
    for endpoint in of_entry:
        if all(dict(endpoint.labels).get(key) == value for key, value in labels.items()):
            yield endpoint


def _placed(endpoint: EntryEndpoint, one: OutsideHost) -> locality.Placed:
    address = endpoints.Address(endpoint.address, endpoint.port(one.port), weight=endpoint.weight)
    return locality.Placed(address, endpoint.locality, dict(endpoint.labels))


def _endpoints(name: str, policy: TrafficPolicy, hosts: tuple[locality.Placed, ...]) -> Plan:
    seen = locality.plan_of_hosts(policy, hosts)
    if seen is not None:
        make = partial(locality.assignment, name, seen, locality.NOWHERE)
        return Plan(ResourceType.ENDPOINT, name, seen, make, seen)
    addresses = tuple(host.address for host in hosts)
    return Plan(ResourceType.ENDPOINT, name, addresses, partial(endpoints.assignment, name, addresses))
