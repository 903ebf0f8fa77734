"""`refmesh inject -f`: the webhook's patch on files instead of on admission."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from refmesh.api.workload import owner_name
from refmesh.errors import UsageProblem
from refmesh.injector.operations import apply_operations
from refmesh.injector.patch import Config, Skip, patch, warnings
from refmesh.injector.policy import NAMESPACE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["inject_object", "offline_config"]

_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


def offline_config(
    root_cert: Path,
    image: str | None,
    trust_domain: str | None = None,
    *,
    native: bool = True,
    by_node: bool = False,
) -> Config:
    """Return what proxies are told, without a cluster to ask. Raises `UsageProblem`."""
    if not image:
        raise UsageProblem("With --root-cert no cluster is asked for the image.", fix="Give --image REF.")
    try:
        text = root_cert.read_text(encoding="ascii")
        roots = x509.load_pem_x509_certificates(text.encode())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no certificates in PEM"
        raise UsageProblem(
            f"--root-cert {root_cert} cannot be read: {why}.",
            fix="Give what ConfigMap refmesh-ca-root-cert in refmesh-system has under root-cert.pem.",
        ) from error
    # Nothing but the certificates: a file of root and key must not put the key into every pod.
    pem = "".join(root.public_bytes(Encoding.PEM).decode() for root in roots)
    domain = trust_domain or Config.trust_domain
    return Config(image, pem, trust_domain=domain, native=native, by_node=by_node)


def _to_nobody(_warning: str) -> None:
    return


def _owner(obj: dict[str, Any]) -> str:
    """The workload that pods made of this template belong to, as the webhook would read it from such a pod."""
    made_by = {"kind": obj["kind"], "name": (obj.get("metadata") or {}).get("name"), "controller": True}
    return owner_name({"ownerReferences": [made_by]})


def inject_object(obj: dict[str, Any], config: Config, warn: Callable[[str], None] = _to_nobody) -> dict[str, Any]:
    """Return the object with its pod (template) injected; others, and pods that opt out, come back unchanged.

    `warn` is told what the webhook would warn of; without it nobody is. Raises `refmesh.injector.patch.BadPod`.
    """
    if obj.get("kind") == "List":
        return obj | {"items": [inject_object(item, config, warn) for item in obj.get("items") or ()]}
    path = _TEMPLATES.get(str(obj.get("kind")))
    if path is None:
        return obj
    result = copy.deepcopy(obj)
    pod: Any = result
    for key in path:
        pod = pod.get(key) if isinstance(pod, dict) else None
    if not isinstance(pod, dict):
        return obj
    owner = _owner(obj) if path else ""
    if config.pull_secrets and not (pod.get("spec") or {}).get("imagePullSecrets"):
        # Where a pod names some, it does not get those of its account any more: the application's own may be there.
        warn(f"{obj['kind']}: the pod's service account needs {' and '.join(config.pull_secrets)} in imagePullSecrets")
        config = replace(config, pull_secrets=())
    operations = patch(pod, {NAMESPACE_LABEL: "enabled"}, config, owner=owner)
    if not isinstance(operations, Skip):
        for warning in warnings(pod, config.templates):
            warn(f"{obj['kind']} {(obj.get('metadata') or {}).get('name') or '(no name)'}: {warning}")
        apply_operations(pod, operations)
    return result
