"""The list of refmesh's own kinds: where the API server keeps them, and how each is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from refmesh.api.authorization_policy import AuthorizationPolicy
from refmesh.api.destination_rule import DestinationRule
from refmesh.api.fields import Invalid
from refmesh.api.gateway import Gateway, GatewayClass
from refmesh.api.grpc_route import GRPCRoute
from refmesh.api.http_route import HTTPRoute
from refmesh.api.istio_gateway import IstioGateway
from refmesh.api.meta import Meta, Rejected
from refmesh.api.peer_authentication import PeerAuthentication
from refmesh.api.reference_grant import ReferenceGrant
from refmesh.api.request_authentication import RequestAuthentication
from refmesh.api.service_entry import ServiceEntry
from refmesh.api.sidecar import Sidecar
from refmesh.api.stream_route import TCPRoute, TLSRoute
from refmesh.api.telemetry import Telemetry
from refmesh.api.virtual_service import VirtualService

__all__ = ["BY_NAME", "KINDS", "Kind", "Policy", "parse", "stand_in"]

Policy = (
    PeerAuthentication
    | AuthorizationPolicy
    | RequestAuthentication
    | VirtualService
    | DestinationRule
    | ServiceEntry
    | HTTPRoute
    | GRPCRoute
    | TLSRoute
    | TCPRoute
    | ReferenceGrant
    | Gateway
    | IstioGateway
    | GatewayClass
    | Telemetry
    | Sidecar
)


@dataclass(frozen=True)
class Kind:
    """One kind of object that users write."""

    name: str
    api_version: str
    plural: str
    read: Callable[[Any, str], Policy]
    closed: Callable[[Any, str, str], Policy] | None = None
    """What is in force in place of an object that cannot be read, by the reason and the cluster's domain; None where
    nothing is, because nothing is at risk."""
    written: str = ""
    """The kind's name in manifests, where that is not its name here: two groups have a Gateway."""
    older: tuple[str, ...] = ()
    """Versions in which an object means the same, the newest first; read where the API server does not serve this."""

    @property
    def group(self) -> str:
        """The API's group."""
        return self.api_version.partition("/")[0]

    @property
    def api_versions(self) -> tuple[str, ...]:
        """Those that it can be read in; the first that is served is."""
        return (self.api_version, *(f"{self.group}/{version}" for version in self.older))

    @property
    def of_istio(self) -> bool:
        """Whether it is one of Istio's."""
        return self.group.endswith(".istio.io")


_BETA = ("v1beta1",)
# Istio has v1 since 1.22 (ReferenceGrant since Gateway API 1.5), and definitions outlive an Istio that is uninstalled.
KINDS: tuple[Kind, ...] = (
    Kind(
        "PeerAuthentication",
        "security.istio.io/v1",
        "peerauthentications",
        PeerAuthentication.parse,
        PeerAuthentication.closed,
        older=_BETA,
    ),
    Kind(
        "AuthorizationPolicy",
        "security.istio.io/v1",
        "authorizationpolicies",
        AuthorizationPolicy.parse,
        AuthorizationPolicy.closed,
        older=_BETA,
    ),
    Kind(
        "RequestAuthentication",
        "security.istio.io/v1",
        "requestauthentications",
        RequestAuthentication.parse,
        RequestAuthentication.closed,
        older=_BETA,
    ),
    Kind("VirtualService", "networking.istio.io/v1", "virtualservices", VirtualService.parse, older=_BETA),
    Kind(
        "DestinationRule",
        "networking.istio.io/v1",
        "destinationrules",
        DestinationRule.parse,
        DestinationRule.closed,
        older=_BETA,
    ),
    Kind("IstioGateway", "networking.istio.io/v1", "gateways", IstioGateway.parse, written="Gateway", older=_BETA),
    Kind("ServiceEntry", "networking.istio.io/v1", "serviceentries", ServiceEntry.parse, older=_BETA),
    Kind("Sidecar", "networking.istio.io/v1", "sidecars", Sidecar.parse, Sidecar.closed, older=_BETA),
    Kind("GatewayClass", "gateway.networking.k8s.io/v1", "gatewayclasses", GatewayClass.parse),
    Kind("Gateway", "gateway.networking.k8s.io/v1", "gateways", Gateway.parse),
    Kind("Telemetry", "telemetry.istio.io/v1", "telemetries", Telemetry.parse, older=("v1alpha1",)),
    Kind("HTTPRoute", "gateway.networking.k8s.io/v1", "httproutes", HTTPRoute.parse),
    Kind("GRPCRoute", "gateway.networking.k8s.io/v1", "grpcroutes", GRPCRoute.parse, older=("v1alpha2",)),
    Kind("TLSRoute", "gateway.networking.k8s.io/v1", "tlsroutes", TLSRoute.parse, older=("v1alpha3", "v1alpha2")),
    Kind("TCPRoute", "gateway.networking.k8s.io/v1", "tcproutes", TCPRoute.parse, older=("v1alpha2",)),
    Kind("ReferenceGrant", "gateway.networking.k8s.io/v1", "referencegrants", ReferenceGrant.parse, older=_BETA),
)
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


def parse(kind: Kind, obj: Any, domain: str) -> Policy | Rejected:
    """Read an object of a kind. A bad one comes back as `Rejected` with the reason; nothing else is raised."""
    try:
        meta = Meta.read(obj, kind.name)
    except Invalid as problem:
        return Rejected(Meta(kind.name, "", ""), str(problem))
    try:
        return kind.read(obj, domain)
    except Invalid as problem:
        return Rejected(meta, str(problem))


def stand_in(kind: Kind, obj: Any, reason: str, domain: str) -> Policy | None:
    """What is in force in place of an object that was rejected for this reason; None where nothing is."""
    try:
        return kind.closed(obj, reason, domain) if kind.closed is not None else None
    except Invalid:
        return None  # nothing that it is about, or nothing that would be at risk
