"""Defects in injection: who is in the mesh, and what becomes of their pods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from refmesh.defects.defect import Defect
from refmesh.injector.policy import CONFIGURATION, NAMESPACE_LABEL, POD_LABEL

__all__ = ["DEFECTS"]

_FORGOTTEN_PORT = "9090"


def _nothing_opts_out(sound: Callable[[], tuple[str, ...]]) -> Callable[[], tuple[str, ...]]:
    """Know no value that opts out."""
    _ = sound
    return lambda: ()


def _never(sound: Callable[..., bool]) -> Callable[..., bool]:
    """Say no, whatever is asked."""
    _ = sound
    return lambda *_: False


def _after_the_users(
    sound: Callable[[Sequence[Any] | None, Sequence[Any]], list[Any]],
) -> Callable[[Sequence[Any] | None, Sequence[Any]], list[Any]]:
    """Put the mesh's containers after the user's init containers."""

    def init_operations(existing: Sequence[Any] | None, items: Sequence[Any]) -> list[Any]:
        if not existing:
            return sound(existing, items)
        return [{"op": "add", "path": "/spec/initContainers/-", "value": item} for item in items]

    return init_operations


def _one_port_more(
    sound: Callable[[Mapping[str, str]], dict[str, str]],
) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Exempt a port that nobody asked to be exempt."""

    def excludes(annotations: Mapping[str, str]) -> dict[str, str]:
        found = sound(annotations)
        asked = found.get("REFMESH_EXCLUDE_INBOUND_PORTS", "")
        return found | {"REFMESH_EXCLUDE_INBOUND_PORTS": f"{asked},{_FORGOTTEN_PORT}".lstrip(",")}

    return excludes


def _without_waiting(sound: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Leave out the hook for whose end the kubelet waits."""
    return lambda: {name: hook for name, hook in sound().items() if name != "postStart"}


def _let_in(sound: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """Admit what cannot be injected, as it is."""
    _ = sound
    return lambda message: {"allowed": True, "warnings": [message]}


def _as_written(sound: Callable[..., Any]) -> Callable[..., None]:
    """Leave every probe with the kubelet."""
    _ = sound
    return lambda *_: None


def _squeezed(
    sound: Callable[[Mapping[str, Any]], tuple[list[Any], Any]],
) -> Callable[[Mapping[str, Any]], tuple[list[Any], Any]]:
    """Set a limit on the processor for each application, whatever its author said."""

    def application_operations(spec: Mapping[str, Any]) -> tuple[list[Any], Any]:
        operations, probes = sound(spec)
        for index, container in enumerate(spec.get("containers") or ()):
            found = container.get("resources") or {}
            limits = {**(found.get("limits") or {}), "cpu": "1"}
            path = f"/spec/containers/{index}/resources"
            operations.append({"op": "add", "path": path, "value": {**found, "limits": limits}})
        return operations, probes

    return application_operations


def _defect(name: str, summary: str, seam: str, make: Callable[..., Any]) -> Defect:
    return Defect(name, summary, "injection", f"refmesh.injector.{seam}", make)


def _pods_have_no_say(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take a pod's own wish for a proxy for the opposite."""

    def decide(namespace_labels: Any, pod: Any) -> Any:
        metadata = pod.get("metadata") or {}
        labels = metadata.get("labels") or {}
        if labels.get(POD_LABEL) == "true":
            pod = {**pod, "metadata": {**metadata, "labels": {**labels, POD_LABEL: "false"}}}
        return sound(namespace_labels, pod)

    return decide


def _everybody(sound: Callable[[str], Any]) -> Callable[[str], Any]:
    """Ask the control plane about the pods of every namespace, and take each for one that opted in."""
    from refmesh.injector import policy

    # One process writes the webhook's selectors, at install, and another decides by the labels.
    policy.namespace_opts_in = lambda labels: labels is not None

    def webhooks(failure_policy: str = "Fail") -> Any:
        found = sound(failure_policy)
        for hook in found["webhooks"]:
            asked = hook["namespaceSelector"]["matchExpressions"]
            hook["namespaceSelector"]["matchExpressions"] = [one for one in asked if one["key"] != NAMESPACE_LABEL]
            hook["objectSelector"] = {}
        return found

    return webhooks


def _opens_on_leaving(sound: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Have the API server ask nobody while the injector is away, and say nothing of it before."""

    async def keep_bundle(kube: Any, authority: Any) -> None:
        try:
            await _fail_as(kube, "Fail")
            await sound(kube, authority)
        finally:
            await _fail_as(kube, "Ignore")

    return keep_bundle


async def _fail_as(kube: Any, policy: str) -> None:
    where = ("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", CONFIGURATION)
    found = await kube.get(*where)
    for hook in found["webhooks"] if found is not None else ():
        hook["failurePolicy"] = policy
    if found is not None:
        await kube.replace(*where, found)


def _classic(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Make a classic sidecar of every proxy, which goes on when the application has ended."""
    _ = sound
    return lambda _annotations, _default: False


DEFECTS = (
    _defect(
        "opt-out-ignored",
        "Pods that opt out of injection are injected all the same.",
        "policy:opt_out_values",
        _nothing_opts_out,
    ),
    _defect(
        "opt-in-ignored",
        "Pods of a namespace that opts in are left as they are.",
        "policy:namespace_opts_in",
        _never,
    ),
    _defect(
        "double-injection",
        "Pods that have a proxy are given another one.",
        "policy:already_injected",
        _never,
    ),
    _defect(
        "host-network-injected",
        "Pods on their node's network are injected: they would capture the node's traffic.",
        "policy:on_node_network",
        _never,
    ),
    _defect(
        "init-uncaptured",
        "Init containers run before capture and proxy: what they send is plaintext.",
        "patch:init_operations",
        _after_the_users,
    ),
    _defect(
        "app-resources-changed",
        "Injection changes the resources of the application's containers.",
        "patch:application_operations",
        _squeezed,
    ),
    _defect(
        "probes-broken-under-strict",
        "The kubelet's probes go to the application's own port, where STRICT refuses them.",
        "patch:rewrite",
        _as_written,
    ),
    _defect(
        "port-excluded",
        "One inbound port of every pod passes by its proxy.",
        "containers:excludes",
        _one_port_more,
    ),
    _defect(
        "proxy-after-app",
        "The application starts without waiting for its proxy.",
        "containers:hooks",
        _without_waiting,
    ),
    _defect(
        "injection-error-hidden",
        "A pod that cannot be injected is let in as it is.",
        "webhook:refusal",
        _let_in,
    ),
    _defect(
        "pod-opt-in-ignored",
        "A pod that asks for a proxy by itself gets none.",
        "policy:decide",
        _pods_have_no_say,
    ),
    _defect(
        "sidecar-outlives-app",
        "Proxies are ordinary containers: one goes on when the application of its Job has ended.",
        "policy:is_native",
        _classic,
    ),
    Defect(
        "everybody-injected",
        "Pods are injected where nobody asked for it.",
        "injection",
        "refmesh.install.manifests:webhooks",
        _everybody,
    ),
    Defect(
        "injector-opens-on-leaving",
        "While the injector is away pods come without a proxy, where none was to come at all.",
        "injection",
        "refmesh.injector.webhook:_keep_bundle",
        _opens_on_leaving,
    ),
)
