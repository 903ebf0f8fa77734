"""Whether a pod is injected. Pure; the webhook's selectors at install are built from the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CONFIGURATION",
    "INIT",
    "NAMESPACE_LABEL",
    "NATIVE_ANNOTATION",
    "POD_LABEL",
    "PROXY",
    "ROOTS",
    "STATUS_ANNOTATION",
    "VALIDATOR",
    "Decision",
    "decide",
    "has_proxy",
    "is_complete",
    "is_native",
    "opt_out_values",
]

CONFIGURATION = "refmesh-injector"
"""Name of the MutatingWebhookConfiguration."""
VALIDATOR = "refmesh-validator"
"""Name of the ValidatingWebhookConfiguration; the same server answers it."""
NAMESPACE_LABEL = "istio-injection"
POD_LABEL = "sidecar.istio.io/inject"
NATIVE_ANNOTATION = "sidecar.istio.io/nativeSidecar"
STATUS_ANNOTATION = "sidecar.istio.io/status"
INIT = "refmesh-init"
PROXY = "refmesh-proxy"
ROOTS = "REFMESH_ROOT_CERT"
"""The variable that every proxy gets from the injector."""


@dataclass(frozen=True)
class Decision:
    """Inject or not, and why."""

    inject: bool
    reason: str


def opt_out_values() -> tuple[str, ...]:
    """Return the values of the pod's label that keep it out of the mesh."""
    return ("false",)


def decide(namespace_labels: Mapping[str, str], pod: Mapping[str, Any]) -> Decision:
    """Decide about one pod: what cannot be injected is not; who is kept out stays out; who asks comes in."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    if on_node_network(spec):
        return Decision(inject=False, reason="it uses the node's network, which must not be captured")
    if already_injected(metadata, spec):
        return Decision(inject=False, reason="it is injected already")
    # Istio reads the label first and the older annotation of the same name after it.
    word = (metadata.get("labels") or {}).get(POD_LABEL) or (metadata.get("annotations") or {}).get(POD_LABEL)
    if word in opt_out_values():
        return Decision(inject=False, reason=f"it says {POD_LABEL}={word}")
    if namespace_stays_out(namespace_labels):
        return Decision(
            inject=False, reason=f"its namespace says {NAMESPACE_LABEL}={namespace_labels[NAMESPACE_LABEL]}"
        )
    if word == "true":
        return Decision(inject=True, reason=f"it says {POD_LABEL}=true")
    if namespace_opts_in(namespace_labels):
        return Decision(inject=True, reason=f"its namespace says {NAMESPACE_LABEL}=enabled")
    return Decision(inject=False, reason=f"its namespace does not say {NAMESPACE_LABEL}=enabled")


def on_node_network(spec: Mapping[str, Any]) -> bool:
    """Whether the pod's network is its node's."""
    return bool(spec.get("hostNetwork"))


def namespace_opts_in(labels: Mapping[str, str]) -> bool:
    """Whether a namespace asks for its pods to be in the mesh."""
    return labels.get(NAMESPACE_LABEL) == "enabled"


def namespace_stays_out(labels: Mapping[str, str]) -> bool:
    """Whether a namespace keeps its pods out of the mesh, whatever they say: with any other value, as in Istio."""
    return NAMESPACE_LABEL in labels and not namespace_opts_in(labels)


def is_native(annotations: Mapping[str, str], default: bool) -> bool:
    """Whether a pod's proxy is a native sidecar: by its own word, then by its mesh's. Raises ValueError."""
    word = annotations.get(NATIVE_ANNOTATION)
    if word not in {None, "true", "false"}:
        raise ValueError(f"annotation {NATIVE_ANNOTATION}: {word!r} is neither true nor false")
    return default if word is None else word == "true"


def already_injected(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether the pod has its proxy: by the mark that injection leaves, or by the container itself."""
    return STATUS_ANNOTATION in (metadata.get("annotations") or {}) or any(map(is_complete, _proxies(spec)))


def is_complete(container: Mapping[str, Any]) -> bool:
    """Whether a container called as the proxy is one, and not what a user has to say about it before the injection."""
    return any(one.get("name") == ROOTS for one in container.get("env") or ())


def has_proxy(spec: Mapping[str, Any]) -> bool:
    """Whether a pod's specification has the proxy's container."""
    return bool(_proxies(spec))


def _proxies(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return [container for container in containers if container.get("name") == PROXY]
