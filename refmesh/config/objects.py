"""Reads the cluster's own objects (Service, EndpointSlice, Pod, Node, Namespace) into the model, only what is needed.

The API server has validated these, so there is nothing to complain about; what is missing simply counts as empty.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from refmesh.api.export_to import ANNOTATION, exported_by
from refmesh.api.locality import Locality
from refmesh.api.workload import peer_of, workload_name
from refmesh.config.model import ContainerPort, Endpoint, Pod, Protocol, Service, ServicePort, Slice, key_of

__all__ = ["PROXY_CONTAINER", "node", "pod", "protocol_of", "service", "slice_of"]

PROXY_CONTAINER = "refmesh-proxy"
_FINISHED = {"Succeeded", "Failed"}
_SERVICE_LABEL = "kubernetes.io/service-name"

_BY_NAME = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.HTTP2,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "tcp": Protocol.TCP,
    # TLS that the application ends itself is bytes to the mesh.
    "tls": Protocol.TCP,
    "https": Protocol.TCP,
    "kubernetes.io/wss": Protocol.TCP,
    # Protocols in which the server may speak first must not wait for the client's first bytes. None of these is HTTP.
    "mysql": Protocol.TCP,
    "mongo": Protocol.TCP,
    "redis": Protocol.TCP,
    "postgres": Protocol.TCP,
    "postgresql": Protocol.TCP,
    "mongodb": Protocol.TCP,
    "amqp": Protocol.TCP,
    "smtp": Protocol.TCP,
    "ssh": Protocol.TCP,
    "ftp": Protocol.TCP,
    "imap": Protocol.TCP,
    "pop3": Protocol.TCP,
}
_WELL_KNOWN = frozenset({25, 53, 3306, 27017})
"""Of SMTP, DNS, MySQL and MongoDB: unless it is said, nobody speaks HTTP there, and a server may speak first."""


def protocol_of(name: str, app_protocol: str = "", port: int = 0) -> Protocol:
    """What a port speaks: its appProtocol decides, where it has none its name, of either what is before a dash."""
    word = (app_protocol or name).lower()
    if word.startswith("grpc-web"):
        return Protocol.GRPC_WEB
    unsaid = Protocol.TCP if port in _WELL_KNOWN else Protocol.AUTO
    return _BY_NAME.get(word.partition("-")[0], unsaid)


def service(obj: Any) -> Service | None:
    """A Service, or None for one without cluster-internal endpoints (ExternalName)."""
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return None
    namespace, name = key_of(obj)
    metadata = obj.get("metadata") or {}
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    ports = [
        ServicePort(
            name=port.get("name") or "",
            port=port["port"],
            target=port.get("targetPort") or port["port"],
            protocol=protocol_of(port.get("name") or "", port.get("appProtocol") or "", port["port"]),
        )
        for port in spec.get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    ]
    return Service(
        namespace=sys.intern(namespace),
        name=name,
        addresses=tuple(address for address in addresses if address and address != "None"),
        ports=tuple(ports),
        selector=tuple(sorted((spec.get("selector") or {}).items())),
        external=_external(obj.get("status") or {}),
        distribution=spec.get("trafficDistribution") or "",
        node_local=spec.get("internalTrafficPolicy") == "Local",
        created=metadata.get("creationTimestamp") or "",
        exported=exported_by((metadata.get("annotations") or {}).get(ANNOTATION) or "", namespace),
    )


def _external(status: Any) -> tuple[str, ...]:
    assigned = (status.get("loadBalancer") or {}).get("ingress") or []
    return tuple(text for item in assigned if (text := item.get("ip") or item.get("hostname")))


def slice_of(obj: Any) -> Slice | None:
    """An EndpointSlice of a Service, or None for one that belongs to none or is not IPv4."""
    metadata = obj.get("metadata") or {}
    owner = (metadata.get("labels") or {}).get(_SERVICE_LABEL)
    if not owner or obj.get("addressType") != "IPv4":
        return None
    namespace, name = key_of(obj)
    endpoints: list[Endpoint] = []
    for item in obj.get("endpoints") or []:
        conditions, target = item.get("conditions") or {}, item.get("targetRef") or {}
        pod_name = target.get("name", "") if target.get("kind") == "Pod" else ""
        # "ready" absent means unknown, which Kubernetes asks consumers to read as ready.
        ready = conditions.get("ready") is not False
        endpoints.extend(Endpoint(address, ready, pod_name) for address in item.get("addresses") or [])
    ports = [
        (port.get("name") or "", port["port"])
        for port in obj.get("ports") or []
        if port.get("port") and port.get("protocol", "TCP") == "TCP"
    ]
    return Slice(
        namespace=sys.intern(namespace),
        name=name,
        service=owner,
        endpoints=tuple(sorted(endpoints, key=lambda endpoint: endpoint.address)),
        ports=tuple(ports),
    )


def pod(obj: Any) -> Pod | None:
    """A pod, or None for one that is finished. One in its Node's network is never meshed, but Services may have it."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if status.get("phase") in _FINISHED:
        return None
    on_node = bool(spec.get("hostNetwork"))
    namespace, name = key_of(obj)
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    application = [container for container in containers if container.get("name") != PROXY_CONTAINER]
    ports = [
        ContainerPort(port.get("name") or "", port["containerPort"])
        for container in application
        for port in container.get("ports") or []
        if port.get("containerPort") and port.get("protocol", "TCP") == "TCP"
    ]
    return Pod(
        namespace=sys.intern(namespace),
        name=name,
        address=status.get("podIP") or "",
        labels=labels_of(obj),
        service_account=sys.intern(spec.get("serviceAccountName") or "default"),
        ports=tuple(ports),
        meshed=len(application) < len(containers) and not on_node,
        router=not application and bool(containers) and not on_node,
        peer=sys.intern(peer_of(namespace, workload_name(obj["metadata"]), labels_of(obj))),
        node=sys.intern(spec.get("nodeName") or ""),
        on_node=on_node,
    )


def node(obj: Any) -> Locality | None:
    """Where a Node is, or None where its labels do not say."""
    found = Locality.of_node(labels_of(obj))
    return found if found != Locality() else None


def labels_of(obj: Any) -> Mapping[str, str]:
    """The labels, with the texts shared: ten thousand pods carry the same few hundred."""
    labels = (obj.get("metadata") or {}).get("labels") or {}
    return MappingProxyType({sys.intern(str(key)): sys.intern(str(value)) for key, value in labels.items()})
