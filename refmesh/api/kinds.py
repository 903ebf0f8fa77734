"""The list of refmesh's own kinds: where the API server keeps them, and how each is read."""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["KINDS", "Kind", "Policy", "parse", "stand_in"]

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

    @property
    def group(self) -> str:
        """The API's group."""
        return self.api_version.partition("/")[0]

    @property
    def of_istio(self) -> bool:
        """Whether it is one of Istio's."""
        return self.group.endswith(".istio.io")


KINDS: tuple[Kind, ...] = (
    Kind(
        "PeerAuthentication",
        "security.istio.io/v1",
        "peerauthentications",
        PeerAuthentication.parse,
        PeerAuthentication.closed,
    ),
    Kind(
        "AuthorizationPolicy",
        "security.istio.io/v1",
        "authorizationpolicies",
        AuthorizationPolicy.parse,
        AuthorizationPolicy.closed,
    ),
    Kind(
        "RequestAuthentication",
        "security.istio.io/v1",
        "requestauthentications",
        RequestAuthentication.parse,
        RequestAuthentication.closed,
    ),
    Kind("VirtualService", "networking.istio.io/v1", "virtualservices", VirtualService.parse),
    Kind(
        "DestinationRule",
        "networking.istio.io/v1",
        "destinationrules",
        DestinationRule.parse,
        DestinationRule.closed,
    ),
    Kind("IstioGateway", "networking.istio.io/v1", "gateways", IstioGateway.parse, written="Gateway"),
    Kind("ServiceEntry", "networking.istio.io/v1", "serviceentries", ServiceEntry.parse),
    Kind("Sidecar", "networking.istio.io/v1", "sidecars", Sidecar.parse, Sidecar.closed),
    Kind("GatewayClass", "gateway.networking.k8s.io/v1", "gatewayclasses", GatewayClass.parse),
    Kind("Gateway", "gateway.networking.k8s.io/v1", "gateways", Gateway.parse),
    Kind("Telemetry", "telemetry.istio.io/v1", "telemetries", Telemetry.parse),
    Kind("HTTPRoute", "gateway.networking.k8s.io/v1", "httproutes", HTTPRoute.parse),
    Kind("GRPCRoute", "gateway.networking.k8s.io/v1", "grpcroutes", GRPCRoute.parse),
    Kind("TLSRoute", "gateway.networking.k8s.io/v1", "tlsroutes", TLSRoute.parse),
    Kind("TCPRoute", "gateway.networking.k8s.io/v1", "tcproutes", TCPRoute.parse),
    Kind("ReferenceGrant", "gateway.networking.k8s.io/v1", "referencegrants", ReferenceGrant.parse),
)


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
