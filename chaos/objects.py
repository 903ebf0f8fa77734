"""The objects of the experiments' namespaces. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.faults.toxic import API_PORT
from fixtures.workloads import echo_deployment
from fixtures.workloads import service as service_manifest
from fixtures.workloads.manifests import LINUX, POD_SECURITY
from load.manifests import driver_pod
from load.meshing import Meshing

__all__ = [
    "BETWEEN",
    "BETWEEN_PORT",
    "DECOY",
    "DRIVER",
    "ECHO",
    "ECHO_PORT",
    "PROBER",
    "Forgery",
    "inside",
    "outside",
    "service",
]

Manifest = Mapping[str, Any]

ECHO, ECHO_PORT = "echo", 8080
BETWEEN, BETWEEN_PORT = "between", 8081
RAW_PORT = 9191
DECOY = "decoy"
DRIVER = "driver"
PROBER = "prober"

KEPT = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
"""By these annotations autoscalers leave a pod where it is: what they take away looks like a loss of the mesh's."""

_SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
}


def inside(namespace: str, image: str, meshing: Meshing) -> list[Manifest]:
    """The meshed side: strict mutual TLS, two echo servers, toxiproxy between, the load driver, a decoy.

    Some of a mesh's own objects name no namespace: all of it is for this one.
    """
    labels, annotations = dict(meshing.pod_labels), {**KEPT, **meshing.pod_annotations}
    return [
        *meshing.strict(namespace).objects,
        *(item for workload in (ECHO, BETWEEN) for item in meshing.called(workload)),
        service(ECHO, namespace, ECHO, "http", ECHO_PORT, ECHO_PORT),
        # Toxiproxy forwards bytes and leaves the Host header as it is. A service port that is plain TCP to the mesh
        # keeps its sidecar from routing by that header, which would lead back to toxiproxy.
        service(f"{ECHO}-raw", namespace, ECHO, "tcp", RAW_PORT, ECHO_PORT),
        service(BETWEEN, namespace, BETWEEN, "http", BETWEEN_PORT, BETWEEN_PORT),
        *([service(DRIVER, namespace, DRIVER, "http", ECHO_PORT, ECHO_PORT)] if meshing.needs_service else ()),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": DECOY, "namespace": namespace},
            "data": {"why": "nobody reads this; a fault here must not be taken for one"},
        },
        *_toxiproxy(namespace, image, labels, annotations),
        *echo_deployment(
            ECHO,
            namespace,
            image=image,
            replicas=2,
            labels=labels,
            annotations=annotations,
            env={"ECHO_ABRUPT": "1"},  # one that says farewell is no pod that was killed
        ),
        driver_pod(DRIVER, namespace, image=image, labels=labels, annotations=annotations),
    ]


@dataclass(frozen=True)
class Forgery:
    """By what the client without rights passes itself off as one of the mesh."""

    identity: str
    """A URI or a DNS name."""
    alpn: tuple[str, ...] = ()
    """Protocols by which a proxy knows the mesh's own TLS; () where the prober's own will do."""
    server_name: str = ""
    """The same, of a proxy that knows it by the name that is asked for; "" where any will do."""


def outside(namespace: str, image: str, target: str, forgery: Forgery, meshing: Meshing) -> list[Manifest]:
    """The client without rights, in a namespace that is not in the mesh; the pod says so too where it can."""
    container = {
        "name": PROBER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            *("python", "-m", "chaos.prober", target, "--identity", forgery.identity),
            *(("--server-name", forgery.server_name) if forgery.server_name else ()),
            *(("--alpn", *forgery.alpn) if forgery.alpn else ()),
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "48Mi"}},
        "securityContext": _SAFE,
    }
    annotations = {**KEPT, **meshing.outside_annotations}
    return [_pod(PROBER, namespace, [container], meshing.outside_labels, annotations)]


def _toxiproxy(namespace: str, image: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> list[Manifest]:
    """A toxiproxy server whose API listens on loopback only; its proxy comes from a file, so a new pod has it too."""
    proxies = [
        {
            "name": ECHO,
            "listen": f"0.0.0.0:{BETWEEN_PORT}",
            "upstream": f"{ECHO}-raw.{namespace}:{RAW_PORT}",
            "enabled": True,
        }
    ]
    container = {
        "name": BETWEEN,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            "toxiproxy-server",
            "-host",
            "127.0.0.1",
            "-port",
            str(API_PORT),
            "-config",
            "/config/proxies.json",
        ],
        "volumeMounts": [{"name": "config", "mountPath": "/config", "readOnly": True}],
        "resources": {"requests": {"cpu": "20m", "memory": "16Mi"}},
        "securityContext": _SAFE,
    }
    pod = _pod(BETWEEN, namespace, [container], labels, annotations)
    pod["spec"]["volumes"] = [{"name": "config", "configMap": {"name": BETWEEN}}]
    del pod["spec"]["restartPolicy"]
    metadata = {"name": BETWEEN, "namespace": namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"proxies.json": json.dumps(proxies)},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": BETWEEN}},
                "template": {"metadata": _template(pod), "spec": pod["spec"]},
            },
        },
    ]


def _template(pod: Manifest) -> dict[str, Any]:
    return {key: pod["metadata"][key] for key in ("labels", "annotations")}


def _pod(
    name: str,
    namespace: str,
    containers: list[dict[str, Any]],
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name, **(labels or {})},
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": dict(LINUX),
            "securityContext": dict(POD_SECURITY),
            "containers": containers,
        },
    }


def service(name: str, namespace: str, app: str, protocol: str, port: int, target: int) -> Manifest:
    """A service with one port, which says its protocol as meshes expect it: some go by the name, some by the field."""
    return service_manifest(name, namespace, {"app": app}, {protocol: port}, targets={protocol: target})
