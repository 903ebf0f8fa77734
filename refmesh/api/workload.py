"""Which workload a pod belongs to, read from its metadata alone: what metrics and pages call it by."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["owner_name", "peer_of", "workload_name"]

_CRON_RUN = re.compile(r"-\d{8,10}$")


def owner_name(metadata: Mapping[str, Any]) -> str:
    """The Deployment, StatefulSet, DaemonSet, Job or CronJob that made the pod; empty for a pod made by hand."""
    owners = metadata.get("ownerReferences") or ()
    owner = next((item for item in owners if item.get("controller")), None)
    if owner is None:
        return ""
    name, kind = str(owner.get("name") or ""), owner.get("kind")
    if kind == "ReplicaSet":
        template = str((metadata.get("labels") or {}).get("pod-template-hash") or "")
        return name.removesuffix(f"-{template}") if template else name
    # A CronJob names its Jobs after the minute of their run; a metric that changes its name each run helps nobody.
    return _CRON_RUN.sub("", name) if kind == "Job" else name


def workload_name(metadata: Mapping[str, Any]) -> str:
    """What made the pod; a pod made by hand is its own workload."""
    return owner_name(metadata) or str(metadata.get("name") or "")


def peer_of(namespace: str, workload: str, labels: Mapping[str, str]) -> str:
    """What proxies say about a pod to each other: workload, namespace, app and version, none of which has a `;`."""
    app = labels.get("app") or labels.get("app.kubernetes.io/name") or ""
    version = labels.get("version") or labels.get("app.kubernetes.io/version") or ""
    return f"{workload};{namespace};{app};{version}"
