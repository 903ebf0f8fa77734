"""A small cluster in memory: objects as the API server sends them, turned into snapshots and worlds."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from refmesh.config.model import Snapshot
from refmesh.config.store import Store
from refmesh.discovery.resource import Encoded, ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator, World

MESSAGES = {
    ResourceType.CLUSTER: Cluster,
    ResourceType.ENDPOINT: ClusterLoadAssignment,
    ResourceType.SECRET: Secret,
    ResourceType.LISTENER: Listener,
    ResourceType.ROUTE: RouteConfiguration,
}


def metadata(name: str, namespace: str = "shop", created: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "creationTimestamp": created, **more}


def service(
    name: str,
    address: str = "10.0.0.1",
    namespace: str = "shop",
    ports: dict[str, tuple[int, int | str]] | None = None,
) -> dict[str, Any]:
    wanted = ports or {"http": (80, 8080), "tcp": (90, 9090), "": (70, 7070)}
    return {
        "metadata": metadata(name, namespace),
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "selector": {"app": name},
            "ports": [
                {"name": port, "port": number, "targetPort": target, "protocol": "TCP"}
                for port, (number, target) in wanted.items()
            ],
        },
    }


def pod(
    name: str,
    address: str = "10.1.0.1",
    namespace: str = "shop",
    *,
    app: str = "echo",
    version: str = "v1",
    account: str = "echo",
    meshed: bool = True,
    ports: tuple[int, ...] = (8080,),
    labels: dict[str, str] | None = None,
    node: str = "",
) -> dict[str, Any]:
    return {
        "metadata": metadata(name, namespace, labels={"app": app, "version": version} | (labels or {})),
        "spec": {
            "serviceAccountName": account,
            "nodeName": node,
            "containers": [{"name": "app", "ports": [{"containerPort": port} for port in ports]}],
            "initContainers": [{"name": "refmesh-proxy"}] if meshed else [],
        },
        "status": {"phase": "Running", "podIP": address},
    }


def endpoint_slice(
    service_name: str,
    pods: list[dict[str, Any]],
    namespace: str = "shop",
    *,
    ready: bool = True,
    ports: dict[str, int] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": metadata(f"{service_name}-x", namespace, labels={"kubernetes.io/service-name": service_name}),
        "addressType": "IPv4",
        "ports": [
            {"name": name, "port": number} for name, number in (ports or {"http": 8080, "tcp": 9090, "": 7070}).items()
        ],
        "endpoints": [
            {
                "addresses": [item["status"]["podIP"]],
                "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": item["metadata"]["name"]},
            }
            for item in pods
        ],
    }


def policy(name: str, spec: dict[str, Any], namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return {"metadata": metadata(name, namespace, **more), "spec": spec}


class MemoryCluster:
    """Put objects in, get the world out."""

    def __init__(self) -> None:
        self.store = Store()
        self.generator = Generator(MeshSettings())

    def put(self, source: str, *objects: dict[str, Any]) -> MemoryCluster:
        for item in objects:
            self.store.put(source, item)
        return self

    def drop(self, source: str, name: str, namespace: str = "shop") -> MemoryCluster:
        self.store.drop(source, (namespace, name))
        return self

    def snapshot(self) -> Snapshot:
        return self.store.snapshot()

    def world(self) -> World:
        return self.generator.build(self.snapshot())

    def with_echo(self, **pod_options: Any) -> MemoryCluster:
        """The service echo with pods of two versions."""
        pods = [
            pod("echo-v1", "10.1.0.1", **pod_options),
            pod("echo-v2", "10.1.0.2", version="v2", **pod_options),
        ]
        return (
            self.put("Namespace", {"metadata": {"name": "shop"}})
            .put("Service", service("echo"))
            .put("Pod", *pods)
            .put("EndpointSlice", endpoint_slice("echo", pods))
        )


def message_of(item: Encoded, kind: ResourceType) -> Any:
    """The message inside an encoded resource, read back from the wire."""
    response = DeltaDiscoveryResponse.FromString(item.wire)
    found = MESSAGES[kind]()
    assert response.resources[0].resource.Unpack(found)
    assert response.resources[0].name == item.name
    return found


def all_messages(world: World, pod_key: tuple[str, str], kind: ResourceType) -> dict[str, Any]:
    """Everything of a type that the proxy of a pod gets."""
    found = world.snapshot.pods[pod_key]
    table = {**world.tables_of(found).get(kind, {}), **world.own(found).get(kind, {})}
    return {name: message_of(item, kind) for name, item in table.items()}
