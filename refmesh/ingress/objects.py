"""What a Gateway needs in the cluster, as data: ServiceAccount, Deployment, Service. Pure.

They belong to the Gateway (ownerReferences): when it is deleted, Kubernetes deletes them.
"""

from __future__ import annotations

from typing import Any

from refmesh.agent.scrape import METRICS_PATH
from refmesh.agent.settings import AGENT_PORT, PROXY_UID
from refmesh.api.gateway import GROUP, Gateway
from refmesh.api.workload import peer_of
from refmesh.config.ingress import OpenGateway
from refmesh.ingress.names import CLASS_LABEL, GATEWAY_LABEL, bound_port, label_value, workload_name
from refmesh.injector.containers import Config, proxy_container, volumes
from refmesh.injector.policy import POD_LABEL

__all__ = ["gateway_objects"]

Object = dict[str, Any]
_MANAGED = {"app.kubernetes.io/managed-by": "refmesh", "app.kubernetes.io/part-of": "refmesh"}


def gateway_objects(opened: OpenGateway, config: Config) -> list[Object]:
    """The objects for a Gateway, in the order in which they are applied; none while no listener can be opened."""
    ports = sorted({door.listener.port: door.listener.protocol for door in opened.doors if door.opens}.items())
    if not ports:
        return []
    gateway = opened.gateway
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(gateway),
        "automountServiceAccountToken": False,
    }
    return [account, _deployment(gateway, config), _service(gateway, ports)]


def _labels(gateway: Gateway) -> dict[str, str]:
    own = {GATEWAY_LABEL: label_value(gateway), CLASS_LABEL: gateway.class_name[:63], **_MANAGED}
    return {**dict(gateway.labels), **own}


def _metadata(gateway: Gateway) -> Object:
    owner = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "name": gateway.meta.name,
        "uid": gateway.uid,
        "controller": True,
    }
    return {
        "name": workload_name(gateway),
        "namespace": gateway.meta.namespace,
        "labels": _labels(gateway),
        "annotations": dict(gateway.annotations),
        "ownerReferences": [owner],
    }


def _service(gateway: Gateway, ports: list[tuple[int, str]]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(gateway),
        "spec": {
            "type": "LoadBalancer",
            "selector": {GATEWAY_LABEL: label_value(gateway)},
            "ports": [
                {
                    "name": f"{protocol.lower()}-{port}",
                    "port": port,
                    "targetPort": bound_port(port),
                    "protocol": "TCP",
                }
                for port, protocol in ports
            ],
        },
    }


def _deployment(gateway: Gateway, config: Config) -> Object:
    name = workload_name(gateway)
    labels = {**_labels(gateway), POD_LABEL: "false"}
    annotations = {
        **dict(gateway.annotations),
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(AGENT_PORT),
        "prometheus.io/path": METRICS_PATH,
    }
    environment = {"REFMESH_PROXY_TYPE": "router", "REFMESH_PEER": peer_of("", name, {"app": gateway.meta.name})}
    proxy = proxy_container(config, {}, gateway.meta.name, name, {}, environment)
    # A container like any other: there is no application that it would have to start before.
    del proxy["restartPolicy"]
    proxy["lifecycle"] = {"preStop": {"exec": {"command": ["python", "-m", "refmesh.agent.hooks", "retire"]}}}
    proxy["readinessProbe"] |= {"periodSeconds": 1}
    proxy["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(gateway),
        "spec": {
            "selector": {"matchLabels": {GATEWAY_LABEL: label_value(gateway)}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "serviceAccountName": name,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": PROXY_UID,
                        "runAsGroup": PROXY_UID,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [proxy],
                    "volumes": volumes(),
                },
            },
        },
    }
