"""Gateways, their routes, pods and certificates, in a small cluster in memory."""

from __future__ import annotations

from typing import Any

from cryptography import x509

from refmesh.config.ingress import CONTROLLER, OpenGateway, open_gateway
from refmesh.config.model import Certificate, Snapshot
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.helpers import MemoryCluster, endpoint_slice, metadata, pod, policy, service

NAME = "front-refmesh"
HTTP: dict[str, Any] = {"name": "http", "port": 80, "protocol": "HTTP"}


def gateway_class(controller: str = CONTROLLER, name: str = "refmesh") -> dict[str, Any]:
    return {"metadata": {"name": name, "generation": 2}, "spec": {"controllerName": controller}}


def gateway(*listeners: dict[str, Any], name: str = "front", namespace: str = "shop", **more: Any) -> dict[str, Any]:
    spec = {"gatewayClassName": "refmesh", "listeners": list(listeners or (HTTP,)), **more}
    return {"metadata": metadata(name, namespace, uid=f"uid-{name}", generation=5), "spec": spec}


def listener(name: str, port: int = 80, **more: Any) -> dict[str, Any]:
    return {"name": name, "port": port, "protocol": "HTTP", **more}


def https(name: str, secret: str = "cert", port: int = 443, **more: Any) -> dict[str, Any]:
    tls = {"mode": "Terminate", "certificateRefs": [{"name": secret}]}
    return {"name": name, "port": port, "protocol": "HTTPS", "tls": tls, **more}


def route(
    name: str = "r", namespace: str = "shop", path: str = "/", backend: str = "echo", **more: Any
) -> dict[str, Any]:
    """A route of the Gateway; `parent` is merged into its reference, `spec` into its spec."""
    parent, spec = more.pop("parent", {}), more.pop("spec", {})
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": [{"name": backend, "namespace": "shop", "port": 80}],
    }
    reference = {"name": "front", "namespace": "shop", **parent}
    return policy(name, {"parentRefs": [reference], "rules": [rule], **spec}, namespace, **more)


def router_pod(name: str = "front-1", address: str = "10.1.9.1", gateway_name: str = "front") -> dict[str, Any]:
    made = pod(name, address, account=f"{gateway_name}-refmesh")
    made["metadata"]["labels"] = {"gateway.networking.k8s.io/gateway-name": gateway_name}
    made["spec"]["containers"], made["spec"]["initContainers"] = [{"name": "refmesh-proxy"}], []
    return made


def key_pair(host: str = "shop.example") -> Certificate:
    chain, key = TestAuthority().issue([x509.DNSName(host)])
    return Certificate(chain.decode(), key.decode())


def with_gateway(*listeners: dict[str, Any], **more: Any) -> MemoryCluster:
    """The service echo behind a Gateway whose proxy runs."""
    cluster = MemoryCluster().with_echo().put("GatewayClass", gateway_class())
    return cluster.put("Gateway", gateway(*listeners, **more)).put("Pod", router_pod())


def serving(cluster: MemoryCluster) -> MemoryCluster:
    """The gateway's Service has an address, and its pod is ready."""
    made = service(NAME, "10.0.0.50")
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
    return cluster.put("Service", made).put("EndpointSlice", endpoint_slice(NAME, [router_pod()]))


def opened(cluster: MemoryCluster) -> tuple[Snapshot, OpenGateway]:
    snapshot = cluster.snapshot()
    assert not snapshot.rejected
    return snapshot, open_gateway(snapshot, snapshot.gateways["shop", "front"])
