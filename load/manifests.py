"""The pod the load driver runs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fixtures.workloads.manifests import LINUX, POD_SECURITY

__all__ = ["driver_pod"]


def driver_pod(
    name: str,
    namespace: str,
    *,
    image: str,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    service_account: str | None = None,
) -> dict[str, Any]:
    """A pod with `load.driver`; its control port is on loopback only, reached by port-forward.

    No readiness probe: nothing outside may reach the port, and `load.remote.Driver` waits for the driver by itself.
    """
    spec: dict[str, Any] = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": dict(LINUX),
        "securityContext": dict(POD_SECURITY),
        "containers": [
            {
                "name": "driver",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python", "-m", "load.driver"],
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                },
            }
        ],
    }
    if service_account is not None:
        spec["serviceAccountName"] = service_account
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name, **(labels or {})},
            "annotations": dict(annotations or {}),
        },
        "spec": spec,
    }
