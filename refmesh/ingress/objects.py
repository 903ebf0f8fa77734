"""What a gateway needs in the cluster, as data: ServiceAccount, Deployment, Service. Pure.

Those of a Gateway of Gateway API belong to it (ownerReferences): when it is deleted, Kubernetes deletes them. Istio's
Gateways select a workload that is there already: `classic_objects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refmesh.agent.places import AGENT_PORT, PROXY_UID
from refmesh.agent.scrape import METRICS_PATH
from refmesh.api.gateway import GROUP
from refmesh.api.workload import peer_of
from refmesh.config.ingress import OpenGateway
from refmesh.ingress.names import CLASS_LABEL, GATEWAY_LABEL, bound_port, label_value, workload_name
from refmesh.injector.containers import CONCURRENCY, Config, proxy_container, pulling, volumes
from refmesh.injector.policy import POD_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLASSIC", "Object", "classic_objects", "gateway_objects", "objects_of"]

Object = dict[str, Any]
CLASSIC = "istio-ingressgateway"
"""The name that Istio's users know."""

_GRACE_SECONDS = 30
_DRAIN_SECONDS = 20
"""For so long a proxy that is told to end waits for its connections, after those in which nodes still send it new ones;
in all less than its pod is given."""
_MANAGED = {"app.kubernetes.io/managed-by": "refmesh", "app.kubernetes.io/part-of": "refmesh"}


@dataclass(frozen=True)
class _Workload:
    """One gateway. `ports` are those of its Service, with their protocols."""

    name: str
    namespace: str
    app: str
    selector: dict[str, str]
    """Its pods, for the Deployment, where it can never be another."""
    served: dict[str, str]
    """Its pods, for the Service: not those of a class before, which end a little later."""
    labels: dict[str, str]
    annotations: dict[str, str]
    owners: list[Object]
    ports: list[tuple[int, str]]


def gateway_objects(opened: OpenGateway, config: Config) -> list[Object]:
    """The objects for a Gateway, in the order in which they are applied; none while no listener can be opened."""
    ports = sorted({door.listener.port: door.listener.protocol for door in opened.doors if door.opens}.items())
    if not ports:
        return []
    gateway = opened.gateway
    selector = {GATEWAY_LABEL: label_value(gateway)}
    served = {**selector, CLASS_LABEL: gateway.class_name[:63]}
    owner = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "name": gateway.meta.name,
        "uid": gateway.uid,
        "controller": True,
    }
    workload = _Workload(
        name=workload_name(gateway),
        namespace=gateway.meta.namespace,
        app=gateway.meta.name,
        selector=selector,
        served=served,
        labels={**dict(gateway.labels), **served},
        annotations=dict(gateway.annotations),
        owners=[owner],
        ports=ports,
    )
    return _objects(workload, config)


def classic_objects(namespace: str, config: Config) -> list[Object]:
    """The objects of the workload that Istio's samples select."""
    labels = {"app": CLASSIC, "istio": "ingressgateway"}
    ports = [(80, "HTTP"), (443, "HTTPS")]
    return _objects(_Workload(CLASSIC, namespace, CLASSIC, labels, labels, labels, {}, [], ports), config)


def objects_of(namespace: str, name: str) -> list[Object]:
    """The same of any workload, by name alone."""
    kinds = (("v1", "ServiceAccount"), ("apps/v1", "Deployment"), ("v1", "Service"))
    metadata = {"name": name, "namespace": namespace}
    return [{"apiVersion": api, "kind": kind, "metadata": metadata} for api, kind in kinds]


def _objects(workload: _Workload, config: Config) -> list[Object]:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(workload),
        "automountServiceAccountToken": False,
    }
    return [account, _deployment(workload, config), _service(workload)]


def _metadata(workload: _Workload) -> Object:
    return {
        "name": workload.name,
        "namespace": workload.namespace,
        "labels": {**workload.labels, **_MANAGED},
        "annotations": workload.annotations,
        "ownerReferences": workload.owners,
    }


def _service(workload: _Workload) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(workload),
        "spec": {
            "type": "LoadBalancer",
            "selector": workload.served,
            "ports": [
                {
                    "name": f"{protocol.lower()}-{port}",
                    "port": port,
                    "targetPort": bound_port(port),
                    "protocol": "TCP",
                }
                for port, protocol in workload.ports
            ],
        },
    }


def _asked(annotations: Mapping[str, str]) -> dict[str, str]:
    """What a Gateway asks of its proxy."""
    threads = annotations.get(CONCURRENCY) or ""
    usable = threads.isascii() and threads.isdecimal() and 0 < len(threads) < 4 and int(threads) > 0
    return {CONCURRENCY: threads} if usable else {}


def _deployment(workload: _Workload, config: Config) -> Object:
    annotations = {
        **workload.annotations,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(AGENT_PORT),
        "prometheus.io/path": METRICS_PATH,
    }
    environment = {
        "REFMESH_PROXY_TYPE": "router",
        "REFMESH_PEER": peer_of("", workload.name, {"app": workload.app}),
        "REFMESH_DRAIN_SECONDS": str(_DRAIN_SECONDS),
    }
    proxy = proxy_container(config, _asked(workload.annotations), workload.app, workload.name, {}, environment)
    proxy["lifecycle"] = {"preStop": {"exec": {"command": ["python", "-m", "refmesh.agent.hooks", "retire"]}}}
    proxy["readinessProbe"] |= {"periodSeconds": 1}
    proxy["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(workload),
        "spec": {
            "selector": {"matchLabels": workload.selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": {**workload.labels, **_MANAGED, POD_LABEL: "false"},
                    "annotations": annotations,
                },
                "spec": {
                    "serviceAccountName": workload.name,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": _GRACE_SECONDS,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": PROXY_UID,
                        "runAsGroup": PROXY_UID,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    **pulling(config.pull_secrets),
                    "containers": [proxy],
                    "volumes": volumes(),
                },
            },
        },
    }
