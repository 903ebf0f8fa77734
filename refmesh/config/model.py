"""The cluster as discovery sees it: small frozen values, and the `Snapshot` that holds all of them at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any

from refmesh.api.authorization_policy import AuthorizationPolicy
from refmesh.api.destination_rule import DestinationRule
from refmesh.api.export_to import EVERYWHERE
from refmesh.api.gateway import Gateway, GatewayClass
from refmesh.api.grpc_route import GRPCRoute
from refmesh.api.http_route import HTTPRoute
from refmesh.api.istio_gateway import IstioGateway
from refmesh.api.locality import POD_LABEL, Locality
from refmesh.api.meta import Rejected
from refmesh.api.peer_authentication import PeerAuthentication
from refmesh.api.reference_grant import ReferenceGrant
from refmesh.api.request_authentication import RequestAuthentication
from refmesh.api.service_entry import ServiceEntry
from refmesh.api.sidecar import Sidecar
from refmesh.api.stream_route import TCPRoute, TLSRoute
from refmesh.api.telemetry import Telemetry
from refmesh.api.virtual_service import VirtualService
from refmesh.config.addresses import by_address

__all__ = [
    "ABSENT",
    "Certificate",
    "ContainerPort",
    "Endpoint",
    "Key",
    "Pod",
    "Protocol",
    "Service",
    "ServicePort",
    "Slice",
    "Snapshot",
    "key_of",
]

Key = tuple[str, str]
"""Namespace and name."""


class Protocol(StrEnum):
    """What a port speaks, as far as its Service says. AUTO is found out connection by connection."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC_WEB = "grpc-web"
    """What browsers speak: proxies make gRPC of it, which is what the application hears."""
    TCP = "tcp"
    AUTO = "auto"

    @property
    def is_http(self) -> bool:
        """Whether requests on this port can be routed one by one."""
        return self is Protocol.HTTP or self.is_http2

    @property
    def is_http2(self) -> bool:
        """Whether requests go on to the application as HTTP/2, whatever they came as."""
        return self in {Protocol.HTTP2, Protocol.GRPC_WEB}


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A TCP port of a Service. `target` is a number or the name of a container port."""

    name: str
    port: int
    target: int | str
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Service:
    """A Service. Headless ones have no address."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    selector: tuple[tuple[str, str], ...]
    external: tuple[str, ...] = ()
    """Addresses or names at which the cluster's load balancer serves it."""
    distribution: str = ""
    """Its `trafficDistribution`: which endpoints clients prefer."""
    node_local: bool = False
    """Clients call the endpoints on their own Node only."""
    created: str = ""
    """RFC 3339 UTC, so that older sorts first as text."""
    exported: frozenset[str] = EVERYWHERE
    """The namespaces whose proxies are told of it."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.namespace, self.name)

    def told(self, namespace: str) -> bool:
        """Whether proxies of a namespace are told of it ("": those of every one)."""
        return not self.exported or namespace in self.exported

    @property
    def headless(self) -> bool:
        """Whether clients call its pods at their own addresses."""
        return not self.addresses

    def host(self, domain: str) -> str:
        """The full DNS name."""
        return f"{self.name}.{self.namespace}.svc.{domain}"

    def port(self, number: int | None) -> ServicePort | None:
        """The port of that number."""
        return next((port for port in self.ports if port.port == number), None)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels (in the same namespace) is behind the Service."""
        return bool(self.selector) and all(labels.get(key) == value for key, value in self.selector)


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A TCP port that a container declares."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has not finished. `meshed`: it carries refmesh's proxy."""

    namespace: str
    name: str
    address: str
    labels: Mapping[str, str]
    service_account: str
    ports: tuple[ContainerPort, ...]
    meshed: bool
    peer: str = ""
    """Workload, namespace, app and version, as `refmesh.api.workload.peer_of` writes them."""
    router: bool = False
    """The proxy is the pod's whole purpose: a gateway. Nothing in it speaks the mesh's mTLS as a server."""
    node: str = ""
    """Name of the Node that it runs on."""
    on_node: bool = False
    """It has the Node's address, as others may, and no proxy."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.namespace, self.name)

    def port(self, target: int | str) -> int | None:
        """The number of a port given by number or by name."""
        if isinstance(target, int):
            return target
        return next((port.port for port in self.ports if port.name == target), None)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a TLS Secret holds, PEM; `problem` says why it is no certificate with a key, and then it holds neither.

    The key shows in no text that is made of this.
    """

    chain: str = ""
    key: str = field(default="", repr=False)
    problem: str = ""
    roots: str = ""
    """CA certificates that clients are verified against; a Secret may have them alone."""
    roots_problem: str = ""
    """Why the Secret's CA certificates are not used; then `roots` is empty. Empty as well where it has none."""


ABSENT = Certificate(problem="does not exist")
"""What is known of a Secret that is not there; of one that was not read yet nothing is known."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a slice; `pod` is the pod's name where it is a pod."""

    address: str
    ready: bool
    pod: str


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice: every endpoint has every port. `ports` maps port names to numbers."""

    namespace: str
    name: str
    service: str
    endpoints: tuple[Endpoint, ...]
    ports: tuple[tuple[str, int], ...]


def key_of(obj: Any) -> Key:
    """Namespace and name of an object as the API server sends it."""
    metadata = obj.get("metadata") or {}
    return (str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


_NONE: Mapping[Any, Any] = MappingProxyType({})
_NOWHERE = Locality()


@dataclass(frozen=True)
class Snapshot:
    """Everything that generation depends on, at one moment. Nothing in it ever changes."""

    version: int = 0
    services: Mapping[Key, Service] = field(default_factory=lambda: _NONE)
    slices: Mapping[Key, Mapping[str, Slice]] = field(default_factory=lambda: _NONE)
    """By service, then by the slice's name."""
    pods: Mapping[Key, Pod] = field(default_factory=lambda: _NONE)
    departed: Mapping[Key, frozenset[str]] = field(default_factory=lambda: _NONE)
    """Service accounts whose last pod has left a Service a moment ago, by service."""
    nodes: Mapping[Key, Locality] = field(default_factory=lambda: _NONE)
    """Where Nodes are, by ("", name); those that say nothing of it are left out."""
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _NONE)
    peer_authentications: Mapping[Key, PeerAuthentication] = field(default_factory=lambda: _NONE)
    authorization_policies: Mapping[Key, AuthorizationPolicy] = field(default_factory=lambda: _NONE)
    request_authentications: Mapping[Key, RequestAuthentication] = field(default_factory=lambda: _NONE)
    jwks: Mapping[str, str] = field(default_factory=lambda: _NONE)
    """Keys of token issuers, by the address that they were fetched from."""
    virtual_services: Mapping[Key, VirtualService] = field(default_factory=lambda: _NONE)
    destination_rules: Mapping[Key, DestinationRule] = field(default_factory=lambda: _NONE)
    http_routes: Mapping[Key, HTTPRoute] = field(default_factory=lambda: _NONE)
    grpc_routes: Mapping[Key, GRPCRoute] = field(default_factory=lambda: _NONE)
    tls_routes: Mapping[Key, TLSRoute] = field(default_factory=lambda: _NONE)
    tcp_routes: Mapping[Key, TCPRoute] = field(default_factory=lambda: _NONE)
    service_entries: Mapping[Key, ServiceEntry] = field(default_factory=lambda: _NONE)
    reference_grants: Mapping[Key, ReferenceGrant] = field(default_factory=lambda: _NONE)
    istio_gateways: Mapping[Key, IstioGateway] = field(default_factory=lambda: _NONE)
    gateway_classes: Mapping[Key, GatewayClass] = field(default_factory=lambda: _NONE)
    """By ("", name)."""
    gateways: Mapping[Key, Gateway] = field(default_factory=lambda: _NONE)
    certificates: Mapping[Key, Certificate] = field(default_factory=lambda: _NONE)
    """TLS Secrets that Gateways refer to, as far as they have been read."""
    telemetries: Mapping[Key, Telemetry] = field(default_factory=lambda: _NONE)
    sidecars: Mapping[Key, Sidecar] = field(default_factory=lambda: _NONE)
    rejected: Mapping[tuple[str, str, str], Rejected] = field(default_factory=lambda: _NONE)

    @property
    def without_endpoints(self) -> tuple[Mapping[Any, Any], ...]:
        """Every table but those of pods and endpoints. One that did not change is the one of the snapshot before."""
        left_out = {"version", "slices", "pods", "departed", "nodes"}
        return tuple(getattr(self, item.name) for item in fields(self) if item.name not in left_out)

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """Room for what others work out from this snapshot, and ask for again."""
        return {}

    @cached_property
    def services_of_namespace(self) -> Mapping[str, tuple[Service, ...]]:
        """Services by namespace, the oldest first."""
        found: dict[str, list[Service]] = {}
        for service in self.services.values():
            found.setdefault(service.namespace, []).append(service)
        return {
            namespace: tuple(sorted(services, key=lambda s: (s.created, s.name)))
            for namespace, services in found.items()
        }

    def pod_at(self, namespace: str, endpoint: Endpoint) -> Pod | None:
        """The pod that an endpoint in a namespace names, or, where somebody wrote just an address, the one there."""
        if endpoint.pod:
            return self.pods.get((namespace, endpoint.pod))
        return by_address(self.pods).get((namespace, endpoint.address))

    def locality(self, pod: Pod) -> Locality:
        """Where a pod is: on its Node, unless its own label says otherwise."""
        said = pod.labels.get(POD_LABEL)
        return Locality.of_label(said) if said else self.nodes.get(("", pod.node), _NOWHERE)

    def services_of(self, pod: Pod) -> tuple[Service, ...]:
        """The Services that a pod is behind, the oldest first."""
        return tuple(
            service for service in self.services_of_namespace.get(pod.namespace, ()) if service.selects(pod.labels)
        )
