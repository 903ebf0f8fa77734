"""Istio's Gateways and VirtualServices at a gateway workload, in a small cluster in memory."""

from __future__ import annotations

from typing import Any

from refmesh.discovery.attachments import Attachments
from refmesh.discovery.classic import classic_ports
from refmesh.discovery.doors import GatewayPort
from refmesh.discovery.settings import MeshSettings
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy
from tests.unit.refmesh_ingress.doorways import router_pod

DOOR = ("refmesh-system", "door")
WEB: dict[str, Any] = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}


def istio_gateway(*servers: dict[str, Any], name: str = "front", **more: Any) -> dict[str, Any]:
    return policy(name, {"selector": {"istio": "ingressgateway"}, "servers": list(servers or (WEB,))}, **more)


def secure(credential: str, *hosts: str) -> dict[str, Any]:
    port = {"number": 443, "name": "https", "protocol": "HTTPS"}
    return {"port": port, "hosts": list(hosts), "tls": {"mode": "SIMPLE", "credentialName": credential}}


def mutual(credential: str, *names: str) -> dict[str, Any]:
    made = secure(credential, *names)
    made["tls"]["mode"] = "MUTUAL"
    return made


def virtual(*hosts: str, name: str = "v", gateways: tuple[str, ...] = ("front",), **more: Any) -> dict[str, Any]:
    rule = {"route": [{"destination": {"host": "echo", "port": {"number": 80}}}], **more}
    return policy(name, {"hosts": list(hosts), "gateways": list(gateways), "http": [rule]})


def with_door(*objects: tuple[str, dict[str, Any]]) -> MemoryCluster:
    door = router_pod("door", "10.1.8.1", "x")
    door["metadata"] |= {"namespace": DOOR[0], "labels": {"app": "istio-ingressgateway", "istio": "ingressgateway"}}
    cluster = MemoryCluster().with_echo().put("Pod", door)
    for source, obj in objects:
        cluster.put(source, obj)
    return cluster


def ports(cluster: MemoryCluster, pod: tuple[str, str] = DOOR) -> tuple[GatewayPort, ...]:
    snapshot = cluster.snapshot()
    assert not snapshot.rejected
    return classic_ports(Attachments.collect(snapshot, MeshSettings()), snapshot.pods[pod])


def hosts(found: tuple[GatewayPort, ...]) -> dict[int, set[str]]:
    return {port.number: {site.domain for chain in port.chains for site in chain.sites} for port in found}
