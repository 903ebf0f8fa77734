"""Any mesh by the Gateway API alone: routes with a Service as their parent. Settings say how pods opt in, if at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import singledispatch
from typing import Self

from pydantic import Field, model_validator

from conformance.intents import (
    Access,
    BackendGrant,
    Bypass,
    CertificateRequest,
    ConnectionLimit,
    EachRequest,
    Ingress,
    Inject,
    InLocality,
    Intent,
    LenientPaths,
    LocalityFailover,
    LogAccesses,
    MeshMtlsMode,
    MtlsMode,
    MutualTls,
    NoInject,
    NoRetries,
    OutlierEjection,
    OutsideHost,
    OwnMtls,
    PeerHeader,
    RateLimit,
    RequestMetrics,
    RequestRoute,
    RetryBudget,
    RotateRoot,
    RoundRobin,
    RouteTimeout,
    Scope,
    ShortCertificates,
    StickyHeader,
    TokenIssuer,
    TraceRequests,
    UnreadableAccess,
    WayOut,
    WeightedRoute,
)
from fixtures.kube import Kube

from . import gateway_api_words
from .base import Proxy, Rendered, Unsupported
from .installed import deployment_problem, deployment_version
from .settings import Names, NamespacedName, Pairs, Settings
from .words import NO_WORDS, cannot

__all__ = ["GatewayApi", "GatewayApiSettings", "render"]

GROUP = "gateway.networking.k8s.io"
ANY = "any"
"""As the setting `proxy-alpn`: whatever a handshake offers."""
AMBIENT, WAYPOINT = ("istio.io/dataplane-mode", "ambient"), "istio.io/use-waypoint"
"""Labels of namespaces: by ztunnel alone, routes of their Services hold for nothing, as Istio's own status of them says
(`WaypointErrorMsgMissingLabel` in its `pilot/pkg/config/kube/gateway/conditions.go`)."""
APP_PROTOCOLS = {"grpc": "kubernetes.io/h2c"}
"""What Gateway API's own tests of meshes say of a port for gRPC since August 2026; `grpc` is no name that Kubernetes or
Gateway API know (GEP-1911), and made such a port opaque to a mesh that goes by them."""
Route = WeightedRoute | RequestRoute | RouteTimeout | BackendGrant | EachRequest


class GatewayApiSettings(Settings):
    """What the Gateway API does not say about a mesh."""

    namespace_labels: Pairs = Field(default_factory=dict)
    """With which namespaces opt in: `istio-injection=enabled`; annotations the same way."""
    namespace_annotations: Pairs = Field(default_factory=dict)
    pod_labels: Pairs = Field(default_factory=dict)
    """With which single pods opt in."""
    pod_annotations: Pairs = Field(default_factory=dict)
    opt_out_labels: Pairs = Field(default_factory=dict)
    """With which pods stay out of a namespace that opted in."""
    opt_out_annotations: Pairs = Field(default_factory=dict)
    app_protocols: Pairs = Field(default_factory=dict)
    """What ports of Services say in `appProtocol`, by protocol, where the mesh wants other words than `http`, and for
    gRPC `kubernetes.io/h2c`; nothing is said of one with an empty text. Linkerd: `http=`; Kuma:
    `grpc=grpc,https=tcp`."""
    per_node: bool = False
    """Whether the mesh does its work outside of the pods, so that opting in changes none."""
    proxy: str = ""
    """Name of the sidecar's container."""
    proxy_alpn: Names = ()
    """Protocols (ALPN) by which a proxy knows the mesh's own TLS from an application's, which it hands on unopened
    where it takes plaintext too: `istio`; `any` where it takes every handshake for the mesh's own. () where the mesh
    has no mTLS, or nobody said."""
    proxy_named_by_identity: bool = False
    """Whether they know it by the server name instead, which is the workload's identity, as Linkerd's."""
    proxy_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of a pod's address to which other proxies bring its traffic: 15008 for ambient Istio, 4143 for Linkerd;
    None: to the application's own port."""
    identity: str = ""
    """Template of what certificates carry: `spiffe://cluster.local/ns/{namespace}/sa/{service_account}`."""
    gateway_class: str = ""
    """GatewayClass of the mesh's ingress; "" if it has none."""
    controller: str = ""
    """`controllerName` under which the mesh writes the status of routes, where others write it too; "": nobody else."""
    control_plane: NamespacedName | None = None
    title: str = "a mesh, by the Gateway API alone"

    @model_validator(mode="after")
    def _whose_port(self) -> Self:
        if self.proxy_port and not (self.proxy or self.per_node):
            raise ValueError("for proxy-port also name the sidecar's container by proxy, or say per-node=true")
        return self


@singledispatch
def render(intent: Intent, settings: GatewayApiSettings) -> Rendered | Unsupported:
    """The intent as a route."""
    return Unsupported(f"{NO_WORDS} {type(intent).__name__}")


cannot(render, "the Gateway API has no words for mTLS modes of workloads", MtlsMode)
cannot(render, "the Gateway API has no words for circuit breaking", OutlierEjection, ConnectionLimit)
cannot(render, "the Gateway API has no words for retry budgets and rate limits in a mesh", RetryBudget, RateLimit)
cannot(render, "that nothing is tried again a route can say since 1.7 alone: older definitions refuse it", NoRetries)
cannot(
    render, "the Gateway API has no words for who may call whom", Access, LenientPaths, TokenIssuer, UnreadableAccess
)
cannot(
    render,
    "the Gateway API has no words for how requests are spread over endpoints",
    InLocality,
    LocalityFailover,
    RoundRobin,
    StickyHeader,
)
cannot(render, "the Gateway API has no words for ports that pass by a proxy", Bypass)
cannot(render, "the Gateway API has no words for mTLS modes of a mesh", MeshMtlsMode)
cannot(
    render,
    "the Gateway API has no words for what proxies count, trace and log",
    RequestMetrics,
    TraceRequests,
    LogAccesses,
)
cannot(render, "the Gateway API has no words for what workloads may call outside", WayOut, OutsideHost)
cannot(render, "the Gateway API has no words for what applications are told of their callers", PeerHeader)
cannot(
    render,
    "the Gateway API knows nothing of a mesh's certificate authority",
    CertificateRequest,
    OwnMtls,
    RotateRoot,
    ShortCertificates,
)


@render.register
def _(intent: Inject, settings: GatewayApiSettings) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        labels, annotations = settings.namespace_labels, settings.namespace_annotations
    else:
        labels, annotations = settings.pod_labels, settings.pod_annotations
    if not labels and not annotations and not settings.per_node:
        return Unsupported(f"nobody has said how a {intent.scope} opts in: --set {intent.scope}-labels=KEY=VALUE")
    return Rendered(
        labels=labels,
        annotations=annotations,
        per_node=settings.per_node,
        app_protocols=APP_PROTOCOLS | settings.app_protocols,
    )


@render.register
def _(intent: MutualTls, settings: GatewayApiSettings) -> Rendered | Unsupported:
    if not settings.proxy_alpn and not settings.proxy_named_by_identity:
        return Unsupported("nobody has said how proxies know the mesh's own TLS: --set proxy-alpn=PROTOCOL, or any")
    return Rendered()


@render.register
def _(intent: NoInject, settings: GatewayApiSettings) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        return Unsupported("the Gateway API has no words for keeping a namespace out")
    if not settings.opt_out_labels and not settings.opt_out_annotations:
        return Unsupported("nobody has said how a pod stays out: --set opt-out-labels=KEY=VALUE")
    return Rendered(labels=settings.opt_out_labels, annotations=settings.opt_out_annotations)


@render.register
def _(intent: Ingress, settings: GatewayApiSettings) -> Rendered | Unsupported:
    if not settings.gateway_class:
        return Unsupported("nobody has said which GatewayClass is the mesh's: --set gateway-class=NAME")
    return gateway_api_words.ingress(intent, settings.gateway_class)


@render.register(WeightedRoute)
@render.register(RequestRoute)
@render.register(RouteTimeout)
@render.register(BackendGrant)
@render.register(EachRequest)
def _(intent: Route, settings: GatewayApiSettings) -> Rendered | Unsupported:
    return gateway_api_words.render(intent)


class GatewayApi:
    """Renders intents as routes. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "gateway-api"
    Settings = GatewayApiSettings

    def __init__(self, settings: GatewayApiSettings | None = None) -> None:
        self.settings = settings or GatewayApiSettings()
        self.title = self.settings.title
        said = self.settings
        proxy = Proxy(
            said.proxy,
            alpn=tuple(one for one in said.proxy_alpn if one != ANY),
            named_by_identity=said.proxy_named_by_identity,
            inbound_port=said.proxy_port,
        )
        self.proxy = proxy if proxy != Proxy("") else None

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent as a route, or by the settings."""
        return render(intent, self.settings)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """By the user's template."""
        if not self.settings.identity:
            return Unsupported("the Gateway API has no words for identities: --set identity=TEMPLATE")
        filled = self.settings.identity.replace("{namespace}", namespace)
        return filled.replace("{service_account}", service_account)

    def control_plane(self) -> tuple[str, str] | None:
        """Whatever the user names."""
        return self.settings.control_plane

    def version(self, kube: Kube) -> str:
        """The control plane's, if it was named, and that of the Gateway API's definitions."""
        name = f"httproutes.{GROUP}"
        found = kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name) or {}
        bundle = found.get("metadata", {}).get("annotations", {}).get(f"{GROUP}/bundle-version", "")
        own = deployment_version(kube, self.settings.control_plane) if self.settings.control_plane else ""
        return ", ".join(part for part in (own, f"Gateway API {bundle}" if bundle else "") if part)

    def problem(self, kube: Kube) -> str:
        """Whether the cluster knows routes, somebody may follow them, and the control plane, if named, is available."""
        if kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"httproutes.{GROUP}") is None:
            return "the cluster knows no HTTPRoute: install the Gateway API's definitions and a mesh that serves them"
        labels = self.settings.namespace_labels
        if labels.get(AMBIENT[0]) == AMBIENT[1] and WAYPOINT not in labels:
            return (
                "in an ambient mesh a route is followed by a waypoint, and the run's namespaces would use none: add "
                f"{WAYPOINT}=NAME to namespace-labels, or {WAYPOINT}=none where no route is to be judged"
            )
        if self.settings.control_plane is None:
            return ""
        return deployment_problem(kube, self.settings.control_plane, "the mesh", "name another by control-plane")

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:  # noqa: ARG002 - routes are a namespace's
        """The namespace's routes with their status."""
        kinds = ("HTTPRoute", "GRPCRoute")
        found = [item for kind in kinds for item in kube.list(f"{GROUP}/v1", kind, namespace)]
        return {"routes.json": json.dumps(found, indent=1)} if found else {}
