"""Endpoints: the ready addresses of a service port, each marked with whether it speaks mutual TLS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from envoy.config.core.v3.address_pb2 import Address as EnvoyAddress
from envoy.config.core.v3.address_pb2 import SocketAddress
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint as EndpointProto
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.struct_pb2 import Struct, Value

from refmesh.api.peer_authentication import MtlsMode
from refmesh.config.model import Endpoint, Pod, Service, ServicePort, Snapshot
from refmesh.discovery import policy
from refmesh.discovery.counting import PEER_NAMESPACE
from refmesh.discovery.packing import uint32

__all__ = ["Address", "Backend", "assignment", "backends", "in_mesh", "lb_endpoints"]

_TLS_MODE_LABEL = "security.istio.io/tlsMode"


class Address(NamedTuple):
    """An address as clusters know it. `peer`: the workload there. `weight` 0: as much as others that say nothing."""

    host: str
    port: int
    mtls: bool = False
    peer: str = ""
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Backend:
    """One address that gets traffic. `pod` is None for addresses that are not pods."""

    address: str
    port: int
    mtls: bool
    pod: Pod | None

    @property
    def listed(self) -> Address:
        """As clusters know it."""
        return Address(self.address, self.port, self.mtls, self.peer)

    @property
    def peer(self) -> str:
        """The workload, as metrics name it."""
        return self.pod.peer if self.pod is not None else ""


def backends(
    snapshot: Snapshot, policies: policy.MtlsPolicies, service: Service, port: ServicePort, *, unready: bool = False
) -> tuple[Backend, ...]:
    """The ready backends of a service port, by address; with `unready` the others too.

    An endpoint that names a pod which is not known (any more) is left out: its slice is only late, and traffic to an
    address that may belong to another pod by now would be wrong.
    """
    found: dict[tuple[str, int], Backend] = {}
    for piece in snapshot.slices.get(service.key, {}).values():
        number = next((number for name, number in piece.ports if name == port.name), None)
        if number is None:
            continue
        for endpoint in piece.endpoints:
            if not (unready or usable(endpoint)):
                continue
            pod = snapshot.pod_at(service.namespace, endpoint)
            if endpoint.pod and (pod is None or pod.address != endpoint.address):
                continue
            found[endpoint.address, number] = Backend(endpoint.address, number, _mtls(policies, pod, number), pod)
    return tuple(found[key] for key in sorted(found))


def usable(endpoint: Endpoint) -> bool:
    """Whether an endpoint gets traffic."""
    return endpoint.ready


def _mtls(policies: policy.MtlsPolicies, pod: Pod | None, port: int) -> bool:
    if pod is None or not in_mesh(pod):
        return False
    return policy.mode_in_force(policies, pod, port) is not MtlsMode.DISABLE


def in_mesh(pod: Pod) -> bool:
    """Whether a pod serves the mesh's mTLS: by its proxy or, with Istio's label for that, by itself."""
    return (pod.meshed and not pod.router) or pod.labels.get(_TLS_MODE_LABEL) == "istio"


def in_subset(backend: Backend, labels: Mapping[str, str]) -> bool:
    """Whether a backend's pod has the labels of a subset."""
    if backend.pod is None:
        return not labels
    own = backend.pod.labels
    return all(own.get(key) == value for key, value in labels.items())


@lru_cache(maxsize=4096)
def _metadata(mtls: bool, peer: str) -> Any:
    """What proxies know of an endpoint; those of one workload share it."""
    found: dict[str, Any] = {}
    if mtls:
        found["envoy.transport_socket_match"] = Struct(fields={"tlsMode": Value(string_value="istio")})
    if peer:
        found[PEER_NAMESPACE] = Struct(fields={"peer": Value(string_value=peer)})
    return Metadata(filter_metadata=found) if found else None


def lb_endpoints(addresses: Iterable[Address]) -> list[Any]:
    """The endpoints in Envoy's words."""
    found = []
    for one in addresses:
        address = EnvoyAddress(socket_address=SocketAddress(address=one.host, port_value=one.port))
        endpoint = LbEndpoint(endpoint=EndpointProto(address=address), metadata=_metadata(one.mtls, one.peer))
        if one.weight:
            endpoint.load_balancing_weight.CopyFrom(uint32(one.weight))
        found.append(endpoint)
    return found


def assignment(name: str, addresses: tuple[Address, ...]) -> Any:
    """The load assignment of a cluster that looks the same from everywhere."""
    endpoints = lb_endpoints(addresses)
    # A locality without endpoints would be refused by no one, but none says "no endpoints" more plainly.
    localities = [LocalityLbEndpoints(lb_endpoints=endpoints)] if endpoints else []
    return ClusterLoadAssignment(cluster_name=name, endpoints=localities)
