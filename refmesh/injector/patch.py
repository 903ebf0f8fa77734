"""The pod patch as a pure function: a pod in, JSON Patch operations or the reason for none out.

Pure but for the part of a hook's path that nobody can guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refmesh.agent.capture import ports, ports_or_all, ranges, ranges_or_all
from refmesh.agent.places import PROXY_UID
from refmesh.api.workload import owner_name, peer_of
from refmesh.injector import policy, resources, scrape
from refmesh.injector.containers import (
    CLASSIC,
    INIT,
    LONGEST_SETTINGS,
    Config,
    init_container,
    proxy_container,
    settings,
    volumes,
)
from refmesh.injector.custom import based, split, whole
from refmesh.injector.operations import Operation, add
from refmesh.injector.probes import HOOKS, KINDS, rewrite, rewrite_hook
from refmesh.injector.proxy_config import PROXY_CONFIG, own_words, untaken
from refmesh.injector.templates import ANNOTATION, FILE, NONE, Templates
from refmesh.injector.user_volumes import user_volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["TLS_MODE_LABEL", "BadPod", "Config", "Operation", "Skip", "patch", "warnings"]

TLS_MODE_LABEL = "security.istio.io/tlsMode"
_MOST_ANNOTATIONS = 256 << 10
"""Letters of all of a pod's annotations: no API server takes more, but it asks about them first, and others may ask."""
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_CAPTURE: Mapping[str, Callable[[str], Any]] = {
    "excludeInboundPorts": ports,
    "excludeOutboundPorts": ports,
    "excludeOutboundIPRanges": ranges,
    "includeInboundPorts": ports_or_all,
    "includeOutboundPorts": ports,
    "includeOutboundIPRanges": ranges_or_all,
}
"""Annotations about what is captured, and who reads them."""


@dataclass(frozen=True)
class Skip:
    """Nothing is to be changed, and why."""

    reason: str


class BadPod(ValueError):
    """The pod asks for something that cannot be done; the message names the field."""


def patch(
    pod: Mapping[str, Any],
    namespace_labels: Mapping[str, str],
    config: Config,
    *,
    owner: str = "",
) -> list[Operation] | Skip:
    """Return the operations that make a pod part of the mesh. Raises `BadPod`.

    Of the application's containers only probes and hooks over the network change, and what templates say of them.
    `owner`: the workload that the pod will belong to, where its metadata does not say it yet.
    """
    decision = policy.decide(namespace_labels, pod)
    if not decision.inject:
        return Skip(decision.reason)
    bare = "metadata" not in pod
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    if sum(len(f"{key}{value}") for key, value in annotations.items()) > _MOST_ANNOTATIONS:
        raise BadPod(f"metadata.annotations: together they are above {_MOST_ANNOTATIONS} letters")
    try:
        templates = config.templates.chosen(annotations)
        spec, own = split(pod.get("spec") or {})
        pod, over = based({**pod, "spec": spec}, templates)
    except ValueError as error:
        raise BadPod(str(error)) from error
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    annotations = metadata.get("annotations") or {}
    asked = _checked(annotations)
    if config.by_node and sum(map(len, settings(annotations).values())) > LONGEST_SETTINGS:
        raise BadPod(f"annotations traffic.sidecar.istio.io/*: together they are above {LONGEST_SETTINGS} letters")
    native = _is_native(annotations, spec, config)
    wanted, mounts = _user_volumes(annotations, spec)
    own_operations, probes = application_operations(spec)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    init = init_container(config, annotations)
    scraping, environment = scrape.merged(annotations)
    labels = metadata.get("labels") or {}
    environment["REFMESH_PEER"] = peer_of("", owner or owner_name(metadata), labels)
    environment |= {} if native else CLASSIC
    proxy = proxy_container(config, asked, app_name(metadata), account, probes, environment)
    proxy["volumeMounts"] += mounts
    status = {"containers": [policy.PROXY], "initContainers": [INIT], "revision": "default"}
    marks = {policy.STATUS_ANNOTATION: _compact(status), **scraping}
    if not native and _DEFAULT_CONTAINER not in annotations:
        marks[_DEFAULT_CONTAINER] = str(spec["containers"][0].get("name"))
    operations = [
        *([] if "metadata" in pod else [add("/metadata", {})]),
        *_merge("/metadata/labels", metadata.get("labels"), {TLS_MODE_LABEL: "istio"}),
        *_merge("/metadata/annotations", annotations or None, marks),
        *own_operations,
        *placed(spec, init, proxy, native=native),
        *_append("/spec/volumes", spec.get("volumes"), [*volumes(), *wanted]),
        *_pulling(config, spec),
    ]
    if not templates and own is None:
        return operations
    try:
        return whole(pod, operations, over, own, bare=bare)
    except ValueError as error:
        raise BadPod(str(error)) from error


def warnings(pod: Mapping[str, Any], templates: Templates = NONE) -> list[str]:
    """Return what the user should know about an injected pod, for `kubectl` to show."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    missing = templates.missing(annotations)
    unread = templates.bad.get(FILE) if ANNOTATION not in annotations else None
    spec = pod.get("spec") or {}
    default = (spec.get("securityContext") or {}).get("runAsUser")
    bypassing = [
        container.get("name")
        for container in spec.get("containers") or ()
        if (container.get("securityContext") or {}).get("runAsUser", default) == PROXY_UID
    ]
    return [
        *(f"annotation {PROXY_CONFIG}: refmesh's proxies do not follow {field}" for field in untaken(annotations)),
        *([unreadable] if (unreadable := scrape.unreadable(annotations)) else []),
        *([f"the injector's templates, or an edit of them, cannot be read: {unread}"] if unread else []),
        *(f"template {name} is broken and was left out: {templates.bad[name]}" for name in missing),
        *(
            f"container {name} runs as user {PROXY_UID}, the proxy's own: its traffic bypasses the mesh"
            for name in bypassing
            if name != policy.PROXY
        ),
    ]


def app_name(metadata: Mapping[str, Any]) -> str:
    """Return what the workload is called: its app label, or its name without the generated part."""
    labels = metadata.get("labels") or {}
    name = labels.get("app") or labels.get("app.kubernetes.io/name") or metadata.get("name")
    return str(name or str(metadata.get("generateName") or "").rstrip("-"))


def _checked(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """Return what a pod asks of its proxy, in refmesh's own words."""
    for what, parse in _CAPTURE.items():
        name = f"traffic.sidecar.istio.io/{what}"
        try:
            parse(annotations.get(name) or "")
        except ValueError as error:
            raise BadPod(f"annotation {name}: {error}") from error
    try:
        annotations = own_words(annotations)
    except ValueError as error:
        raise BadPod(str(error)) from error
    for suffix in ("concurrency", "drainSeconds", "listenerDrainSeconds", "certificateSeconds"):
        name = f"proxy.refmesh.io/{suffix}"
        value = annotations.get(name) or "1"
        if not (value.isascii() and value.isdecimal() and len(value) < 7):
            raise BadPod(f"annotation {name}: {value!r} is not a whole number below 1000000")
    try:
        resources.of_proxy(annotations)
    except ValueError as error:
        raise BadPod(str(error)) from error
    level = annotations.get("proxy.refmesh.io/logLevel") or "warning"
    if level not in {"trace", "debug", "info", "warning", "error", "critical", "off"}:
        raise BadPod(f"annotation proxy.refmesh.io/logLevel: {level!r} is no log level of Envoy")
    kept = annotations.get("proxy.refmesh.io/statistics") or "shown"
    if kept not in {"shown", "all"}:
        raise BadPod(f"annotation proxy.refmesh.io/statistics: {kept!r} is neither shown nor all")
    return annotations


def _is_native(annotations: Mapping[str, str], spec: Mapping[str, Any], config: Config) -> bool:
    try:
        native = policy.is_native(annotations, config.native)
    except ValueError as error:
        raise BadPod(str(error)) from error
    if not native and not spec.get("containers"):
        raise BadPod("spec.containers: a pod needs one of its own, beside which the proxy can be")
    return native


def _user_volumes(
    annotations: Mapping[str, str], spec: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    try:
        return user_volumes(annotations, {str(volume.get("name")) for volume in spec.get("volumes") or ()})
    except ValueError as error:
        raise BadPod(str(error)) from error


def application_operations(spec: Mapping[str, Any]) -> tuple[list[Operation], dict[str, Any]]:
    """Return what changes in the application's own containers, and their probes and hooks by the agent's paths."""
    operations, originals = list[Operation](), dict[str, Any]()
    # Sidecars of the user's own are init containers and may have probes as well.
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            for kind in KINDS:
                if (rewritten := rewrite(container, kind)) is None:
                    continue
                probe, path, original = rewritten
                originals[path] = original
                operations.append({"op": "replace", "path": f"/spec/{group}/{index}/{kind}", "value": probe})
            for kind in HOOKS:
                if (moved := rewrite_hook(container, kind, spec)) is None:
                    continue
                hook, path, original = moved
                originals[path] = original
                operations.append({"op": "replace", "path": f"/spec/{group}/{index}/lifecycle/{kind}", "value": hook})
    return operations, originals


def _merge(path: str, existing: Mapping[str, str] | None, extra: Mapping[str, str]) -> list[Operation]:
    if not existing:
        return [add(path, dict(extra))]
    return [add(f"{path}/{_escape(key)}", value) for key, value in extra.items()]


def placed(spec: Mapping[str, Any], init: dict[str, Any], proxy: dict[str, Any], *, native: bool) -> list[Operation]:
    """Put the mesh's two containers where they belong.

    A classic sidecar starts after all init containers: were the network captured before, none of them would have any.
    It starts before the other containers, which wait for its hook.
    """
    inits = spec.get("initContainers")
    if native:
        return init_operations(inits, [init, proxy | {"restartPolicy": "Always"}])
    return [*_append("/spec/initContainers", inits, [init]), add("/spec/containers/0", proxy)]


def init_operations(existing: Sequence[Any] | None, items: Sequence[Any]) -> list[Operation]:
    """Put the mesh's containers before all others, so that every one of the user's finds a captured network."""
    path = "/spec/initContainers"
    if not existing:
        return [add(path, list(items))]
    return [add(f"{path}/0", item) for item in reversed(items)]


def _pulling(config: Config, spec: Mapping[str, Any]) -> list[Operation]:
    """What the pod lacks of the Secrets with which the proxy's image is pulled; those of its account it has by now."""
    there = spec.get("imagePullSecrets") or ()
    missing = [{"name": name} for name in config.pull_secrets if {"name": name} not in there]
    return _append("/spec/imagePullSecrets", there, missing) if missing else []


def _append(path: str, existing: Sequence[Any] | None, items: Sequence[Any]) -> list[Operation]:
    if not existing:
        return [add(path, list(items))]
    return [add(f"{path}/-", item) for item in items]


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
