"""refmesh, the reference mesh: Istio's kinds and labels, and Gateway API routes where backends are services."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import singledispatchmethod
from typing import Any

from conformance.intents import (
    Backend,
    CertificateRequest,
    ConnectionLimit,
    Inject,
    Intent,
    Marker,
    MtlsMode,
    NoInject,
    OutlierEjection,
    RouteTimeout,
    Scope,
    WeightedRoute,
)
from fixtures.kube import ApiProblem, ForwardProblem, Kube

from .base import Authority, Rendered, Unsupported

__all__ = ["Refmesh"]

SYSTEM = "refmesh-system"
ADMIN_PORT = 15000
PROXY = "refmesh-proxy"
DUMPS = {"config_dump.json": "/config_dump", "clusters.txt": "/clusters?format=json", "stats.txt": "/stats?usedonly"}


class Refmesh:
    """Renders intents for refmesh. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name = "refmesh"
    title = "refmesh, the reference mesh"

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent as refmesh's objects and labels."""
        return self._render(intent)

    @singledispatchmethod
    def _render(self, intent: Intent) -> Rendered | Unsupported:
        return Unsupported(f"refmesh has no words for {type(intent).__name__}")

    @_render.register
    def _(self, intent: Inject) -> Rendered | Unsupported:
        if intent.scope is Scope.NAMESPACE:
            return Rendered(labels={"istio-injection": "enabled"})
        return Rendered(labels={"sidecar.istio.io/inject": "true"})

    @_render.register
    def _(self, intent: NoInject) -> Rendered | Unsupported:
        if intent.scope is Scope.NAMESPACE:
            return Rendered(labels={"istio-injection": "disabled"})
        return Rendered(labels={"sidecar.istio.io/inject": "false"})

    @_render.register
    def _(self, intent: MtlsMode) -> Rendered | Unsupported:
        if intent.ports and not intent.workload:
            return Unsupported("port-level mTLS modes need a workload")
        spec: dict[str, Any] = {"mtls": {"mode": intent.mode.upper()}}
        if intent.workload:
            spec["selector"] = {"matchLabels": {"app": intent.workload}}
        if intent.ports:
            spec["portLevelMtls"] = {str(port): {"mode": mode.upper()} for port, mode in intent.ports.items()}
        name = intent.workload or "default"
        return Rendered(objects=(_object("security.istio.io/v1", "PeerAuthentication", name, intent.namespace, spec),))

    @_render.register
    def _(self, intent: WeightedRoute) -> Rendered | Unsupported:
        if intent.by == "service":
            return Rendered(objects=(_http_route(intent),))
        backends = [backend for backend, _ in intent.weights]
        if intent.marker:
            backends.append(intent.marker.backend)
        routes = [*_marked(intent.service, intent.marker)]
        shares = [
            {"destination": _destination(intent.service, backend), "weight": weight}
            for backend, weight in intent.weights
        ]
        routes.append({"route": shares})
        return Rendered(
            objects=(
                _destination_rule(intent.namespace, intent.service, backends, {}),
                _virtual_service(intent.namespace, intent.service, routes),
            )
        )

    @_render.register
    def _(self, intent: OutlierEjection) -> Rendered | Unsupported:
        policy = {
            "outlierDetection": {
                "consecutive5xxErrors": intent.consecutive,
                "interval": _duration(intent.interval),
                "baseEjectionTime": _duration(intent.ejection),
                "maxEjectionPercent": intent.most_percent,
            }
        }
        return Rendered(objects=_with_policy(intent.namespace, intent.service, policy, intent.marker))

    @_render.register
    def _(self, intent: ConnectionLimit) -> Rendered | Unsupported:
        policy = {
            "connectionPool": {
                "tcp": {"maxConnections": intent.connections},
                "http": {"http1MaxPendingRequests": intent.pending, "http2MaxRequests": intent.requests},
            }
        }
        return Rendered(objects=_with_policy(intent.namespace, intent.service, policy, intent.marker))

    @_render.register
    def _(self, intent: RouteTimeout) -> Rendered | Unsupported:
        route = {"route": [{"destination": {"host": intent.service}}], "timeout": _duration(intent.seconds)}
        return Rendered(objects=(_virtual_service(intent.namespace, intent.service, [route]),))

    @_render.register
    def _(self, intent: CertificateRequest) -> Rendered | Unsupported:  # noqa: ARG002 - one authority for all
        authority = Authority(
            namespace=SYSTEM,
            selector="app=refmesh",
            port=15012,
            audience="istio-ca",
            server_name=f"refmesh.{SYSTEM}.svc",
            roots=(SYSTEM, "refmesh-ca-root-cert", "root-cert.pem"),
        )
        return Rendered(authority=authority)

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """SPIFFE by Istio's template, in the default trust domain."""
        return f"spiffe://cluster.local/ns/{namespace}/sa/{service_account}"

    def control_plane(self) -> tuple[str, str] | None:
        """One Deployment."""
        return SYSTEM, "refmesh"

    def version(self, kube: Kube) -> str:
        """The tag of the control plane's image."""
        deployment = kube.get("apps/v1", "Deployment", "refmesh", SYSTEM)
        if deployment is None:
            return ""
        labels = deployment["metadata"].get("labels", {})
        image = str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
        return str(labels.get("app.kubernetes.io/version") or image.rpartition(":")[2])

    def problem(self, kube: Kube) -> str:
        """Whether the control plane is there and available."""
        deployment = kube.get("apps/v1", "Deployment", "refmesh", SYSTEM)
        if deployment is None:
            return f"refmesh is not installed (no Deployment refmesh in {SYSTEM}): run `meshproof refmesh install`"
        if not deployment.get("status", {}).get("availableReplicas"):
            return f"refmesh's control plane in {SYSTEM} is not available"
        return ""

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """Envoy's configuration, clusters and statistics from its admin port on the pod's loopback."""
        from urllib.error import URLError
        from urllib.request import urlopen

        found: dict[str, str] = {}
        item = kube.get("v1", "Pod", pod, namespace) or {"spec": {}}
        if PROXY not in [one["name"] for one in item["spec"].get("initContainers", [])]:
            return found
        with contextlib.suppress(ApiProblem, ForwardProblem), kube.forward(namespace, pod, ADMIN_PORT) as (host, port):
            for name, path in DUMPS.items():
                try:
                    with urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
                        found[name] = answer.read().decode("utf-8", "replace")
                except (URLError, OSError) as error:
                    found[name] = f"not to be had: {error}"
        return found


def _object(api_version: str, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{round(seconds)}s"


def _destination(service: str, backend: Backend) -> dict[str, Any]:
    return {"host": service, "subset": backend.version}


def _marked(service: str, marker: Marker | None) -> list[dict[str, Any]]:
    """The route that shows that this configuration is in force; first, so that it wins."""
    if marker is None:
        return []
    match = [{"headers": {marker.header: {"exact": marker.value}}}]
    return [{"match": match, "route": [{"destination": _destination(service, marker.backend)}]}]


def _virtual_service(namespace: str, service: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    spec = {"hosts": [service], "http": routes}
    return _object("networking.istio.io/v1", "VirtualService", service, namespace, spec)


def _destination_rule(
    namespace: str, service: str, backends: list[Backend], policy: Mapping[str, Any]
) -> dict[str, Any]:
    versions = sorted({backend.version for backend in backends if backend.version})
    spec: dict[str, Any] = {"host": service}
    if policy:
        spec["trafficPolicy"] = dict(policy)
    if versions:
        spec["subsets"] = [{"name": version, "labels": {"version": version}} for version in versions]
    return _object("networking.istio.io/v1", "DestinationRule", service, namespace, spec)


def _with_policy(
    namespace: str, service: str, policy: Mapping[str, Any], marker: Marker | None
) -> tuple[dict[str, Any], ...]:
    """A traffic policy; its mark is a subset defined in the same object, which a route reaches by header."""
    backends = [marker.backend] if marker else []
    rule = _destination_rule(namespace, service, backends, policy)
    if marker is None:
        return (rule,)
    routes = [*_marked(service, marker), {"route": [{"destination": {"host": service}}]}]
    return rule, _virtual_service(namespace, service, routes)


def _http_route(intent: WeightedRoute) -> dict[str, Any]:
    def reference(backend: Backend, weight: int) -> dict[str, Any]:
        return {"name": backend.service, "port": intent.port, "weight": weight}

    rules: list[dict[str, Any]] = []
    if intent.marker:
        match = {"headers": [{"type": "Exact", "name": intent.marker.header, "value": intent.marker.value}]}
        rules.append({"matches": [match], "backendRefs": [reference(intent.marker.backend, 1)]})
    rules.append({"backendRefs": [reference(backend, weight) for backend, weight in intent.weights]})
    parent = {"group": "", "kind": "Service", "name": intent.service, "port": intent.port}
    spec = {"parentRefs": [parent], "rules": rules}
    return _object("gateway.networking.k8s.io/v1", "HTTPRoute", intent.service, intent.namespace, spec)
