"""The janitor's objects: its deployment, and exactly the rights that the undo entries need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaos.janitor import LOOKED
from chaos.log import LEASE, LOG_NAMESPACE
from chaos.model import Right
from fixtures.kube import MANAGED_BY, Kube
from fixtures.kube.errors import rights_permitting
from fixtures.workloads.manifests import LINUX, POD_SECURITY

__all__ = ["MARK", "NAME", "delete_all", "janitor_objects", "remove_rights", "rights_objects"]

NAME = "meshproof-janitor"
MARK = {"meshproof.io/part": "janitor"}
_RBAC = "rbac.authorization.k8s.io/v1"

OWN_RIGHTS = (
    Right(LOG_NAMESPACE, "", ("configmaps",), ("get", "list", "delete")),
    Right(LOG_NAMESPACE, "coordination.k8s.io", ("leases",), ("get",), (LEASE,)),
)
"""Reading the log and the heartbeat, removing what was replayed."""


def janitor_objects(image: str) -> list[Mapping[str, Any]]:
    """Service account, own rights and deployment. The janitor holds no state: killed, it starts again and looks."""
    labels = {**MANAGED_BY, **MARK, "app": NAME}
    container = {
        "name": "janitor",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "chaos.janitor"],
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
        },
        "volumeMounts": [{"name": "looked", "mountPath": str(LOOKED.parent)}],
        # Ready is who sees the log; asked often only until then, for each question is a process in the pod.
        "startupProbe": {**_probe(), "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**_probe(), "periodSeconds": 5},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": LOG_NAMESPACE, "labels": labels},
        },
        *rights_objects(OWN_RIGHTS),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": LOG_NAMESPACE, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": NAME}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "serviceAccountName": NAME,
                        "enableServiceLinks": False,
                        "nodeSelector": dict(LINUX),
                        "securityContext": dict(POD_SECURITY),
                        "terminationGracePeriodSeconds": 1,
                        "containers": [container],
                        "volumes": [{"name": "looked", "emptyDir": {}}],
                    },
                },
            },
        },
    ]


def _probe() -> dict[str, Any]:
    return {"exec": {"command": ["cat", str(LOOKED)]}, "timeoutSeconds": 5}


def rights_objects(rights: Iterable[Right]) -> list[Mapping[str, Any]]:
    """One role and its binding for each namespace; a cluster role for rights without one."""
    by_namespace: dict[str, list[Mapping[str, Any]]] = {}
    for right in rights:
        rule: dict[str, Any] = {
            "apiGroups": [right.group],
            "resources": list(right.resources),
            "verbs": list(right.verbs),
        }
        if right.names:
            rule["resourceNames"] = list(right.names)
        by_namespace.setdefault(right.namespace, []).append(rule)
    objects: list[Mapping[str, Any]] = []
    for namespace, rules in sorted(by_namespace.items()):
        kind = "Role" if namespace else "ClusterRole"
        metadata: dict[str, Any] = {"name": NAME, "labels": {**MANAGED_BY, **MARK}}
        if namespace:
            metadata["namespace"] = namespace
        objects += [
            {"apiVersion": _RBAC, "kind": kind, "metadata": metadata, "rules": rules},
            {
                "apiVersion": _RBAC,
                "kind": f"{kind}Binding",
                "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
                "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": LOG_NAMESPACE}],
            },
        ]
    return objects


def remove_rights(kube: Kube) -> None:
    """Remove the janitor's roles wherever they are, as far as the user may look for them."""
    for kind in ("RoleBinding", "Role", "ClusterRoleBinding", "ClusterRole"):
        with rights_permitting():
            delete_all(kube, kube.list(_RBAC, kind, selector=MARK))


def delete_all(kube: Kube, objects: Iterable[Mapping[str, Any]]) -> None:
    """Delete those of the objects that are there and that the user may delete."""
    for one in objects:
        with rights_permitting():
            kube.delete(one["apiVersion"], one["kind"], one["metadata"]["name"], one["metadata"].get("namespace"))
