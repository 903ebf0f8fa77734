"""The Prometheus add-on's objects as data: who is scraped, with which labels, and the workload that does it. Pure.

Proxies and gateways are found by the annotations that their pods carry. The port which those name is captured by no
rule, so a scrape needs no certificate and works under STRICT mTLS as under any other mode.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import yaml

from refmesh.injector.containers import pulling
from refmesh.injector.policy import POD_LABEL
from refmesh.install.manifests import DEPLOYMENT as CONTROL_PLANE
from refmesh.install.manifests import LABELS, MONITORING_PORT, container_security, pod_security
from refmesh.install.options import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refmesh.install.options import Options

__all__ = ["APP", "NAME", "PORT", "deployment", "objects", "scrape_config"]

Object = dict[str, Any]
NAME = "prometheus"
APP = "prometheus"
"""Value of the label `app` of its pods."""
PORT = 9090
_CLUSTER_ROLE = "refmesh-prometheus"
_LABELS = {**LABELS, "app.kubernetes.io/name": "prometheus"}
_SELECTOR = {"app": APP}
_SCRAPE_SECONDS = 15
_MAX_PAGE = "32MB"
"""A larger page counts as a failed scrape: no pod of the cluster may fill Prometheus' memory."""
_KEPT_TIME, _KEPT_SIZE, _VOLUME_SIZE = "7d", "1GB", "2Gi"
_POD = "__meta_kubernetes_pod_"
_ANNOTATION = f"{_POD}annotation_prometheus_io_"


def objects(options: Options) -> list[Object]:
    """Everything that the add-on consists of, each after what it needs; the Deployment comes last."""
    config = yaml.safe_dump(scrape_config(), sort_keys=False)
    return [
        *_rbac(),
        _config_map(config),
        _service(),
        deployment(options.addons_prometheus_image, config, options.pull_secrets),
    ]


def scrape_config() -> Object:
    """Prometheus' configuration: the control planes, and every pod whose annotations ask for it."""
    return {
        "global": {"scrape_interval": f"{_SCRAPE_SECONDS}s", "scrape_timeout": "10s"},
        "scrape_configs": [_control_planes(), _annotated_pods()],
    }


def _control_planes() -> Object:
    keep = [
        _relabel("keep", f"{_POD}label_app", regex=CONTROL_PLANE),
        _relabel("keep", f"{_POD}container_port_number", regex=str(MONITORING_PORT)),
    ]
    return _job("refmesh", [*keep, *_pod_labels()], namespaces={"names": [NAMESPACE]})


def _annotated_pods() -> Object:
    """Return the job of sidecars, gateways and applications outside of the mesh, by the customary annotations."""
    port = [f"{_ANNOTATION}port", f"{_POD}ip"]
    return _job(
        "kubernetes-pods",
        [
            _relabel("keep", f"{_ANNOTATION}scrape", regex="true"),
            _relabel("replace", f"{_ANNOTATION}scheme", regex="(https?)", target="__scheme__"),
            _relabel("replace", f"{_ANNOTATION}path", regex="(.+)", target="__metrics_path__"),
            _relabel("replace", *port, regex=r"(\d+);([^:]+)", target="__address__", replacement="$2:$1"),
            _relabel("replace", *port, regex=r"(\d+);(.*:.*)", target="__address__", replacement="[$2]:$1"),
            *_pod_labels(),
        ],
    )


def _pod_labels() -> list[Object]:
    """Return what is the same for every pod: those that run, and the labels by which dashboards tell them apart.

    Not every label of a pod becomes one of its metrics: one called `reporter` would rename that of the proxy's.
    """
    return [
        _relabel("drop", f"{_POD}phase", regex="Pending|Succeeded|Failed"),
        {"action": "labelmap", "regex": f"{_POD}label_(app|version|app_kubernetes_io_(?:name|instance|version))"},
        _relabel("replace", "__meta_kubernetes_namespace", target="namespace"),
        _relabel("replace", f"{_POD}name", target="pod"),
    ]


def _job(name: str, relabels: list[Object], **discovery: Any) -> Object:
    return {
        "job_name": name,
        "body_size_limit": _MAX_PAGE,
        "kubernetes_sd_configs": [{"role": "pod", **discovery}],
        "relabel_configs": relabels,
    }


def _relabel(action: str, *sources: str, regex: str = "", target: str = "", replacement: str = "") -> Object:
    given = {"regex": regex, "target_label": target, "replacement": replacement}
    return {"action": action, "source_labels": list(sources), **{key: value for key, value in given.items() if value}}


def _metadata(name: str, **extra: str) -> Object:
    return {"name": name, **extra, "labels": dict(_LABELS)}


def _rbac() -> list[Object]:
    """Return the right to see pods, which has to reach over namespaces, and no other."""
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(NAME, namespace=NAMESPACE)},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRole",
            "metadata": _metadata(_CLUSTER_ROLE),
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(_CLUSTER_ROLE),
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": _CLUSTER_ROLE},
            "subjects": [subject],
        },
    ]


def _config_map(config: str) -> Object:
    metadata = _metadata(NAME, namespace=NAMESPACE)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"prometheus.yml": config}}


def _service() -> Object:
    ports = [{"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP"}]
    metadata = _metadata(NAME, namespace=NAMESPACE)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": dict(_SELECTOR), "ports": ports},
    }


def deployment(image: str, config: str, pull_secrets: Sequence[str] = ()) -> Object:
    """Return the workload: one replica, whose metrics last as long as its pod; it fits the restricted profile."""
    probe = {"path": "/-/ready", "port": PORT}
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/data",
            f"--storage.tsdb.retention.time={_KEPT_TIME}",
            f"--storage.tsdb.retention.size={_KEPT_SIZE}",
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": probe, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 5},
        "livenessProbe": {
            "httpGet": probe | {"path": "/-/healthy"},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/prometheus", "readOnly": True},
            {"name": "data", "mountPath": "/data"},
        ],
    }
    # Prometheus reads its configuration once; another one is another pod.
    annotations = {"refmesh.io/config": hashlib.sha256(config.encode()).hexdigest()[:16]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(NAME, namespace=NAMESPACE),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": dict(_SELECTOR)},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {
                    "labels": {**_LABELS, **_SELECTOR, POD_LABEL: "false"},
                    "annotations": annotations,
                },
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": pod_security(),
                    **pulling(pull_secrets),
                    "containers": [container],
                    "volumes": [
                        {"name": "config", "configMap": {"name": NAME}},
                        {"name": "data", "emptyDir": {"sizeLimit": _VOLUME_SIZE}},
                    ],
                },
            },
        },
    }
