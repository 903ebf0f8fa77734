"""The two containers and two volumes that an injected pod gets, as data.

The proxy's is a native sidecar (an init container that goes on) or a classic one (a container like the application's).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refmesh.agent.awaiting import COMMAND
from refmesh.agent.places import PROXY_UID, READY_PORT, RUN_DIR, TOKEN_PATH
from refmesh.injector import resources
from refmesh.injector.policy import INIT, PROXY, ROOTS
from refmesh.injector.templates import NONE, Templates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CLASSIC",
    "CONCURRENCY",
    "INIT",
    "LONGEST_SETTINGS",
    "Config",
    "agent_command",
    "init_container",
    "proxy_container",
    "pulling",
    "secret_names",
    "settings",
    "volumes",
]

CLASSIC = {"REFMESH_SIDECAR": "classic"}
"""Tells the agent that nobody stops it after the application."""
LONGEST_SETTINGS = 16_384
"""Letters of all settings of a pod's capture that a node takes: thousands of ports, of one pod among many."""
AUDIENCE = "istio-ca"
_TOKEN_SECONDS = 43200
_EXCLUDES = {
    "traffic.sidecar.istio.io/excludeInboundPorts": "REFMESH_EXCLUDE_INBOUND_PORTS",
    "traffic.sidecar.istio.io/excludeOutboundPorts": "REFMESH_EXCLUDE_OUTBOUND_PORTS",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges": "REFMESH_EXCLUDE_OUTBOUND_RANGES",
}
_INCLUDES = {
    "traffic.sidecar.istio.io/includeInboundPorts": "REFMESH_INCLUDE_INBOUND_PORTS",
    "traffic.sidecar.istio.io/includeOutboundPorts": "REFMESH_INCLUDE_OUTBOUND_PORTS",
    "traffic.sidecar.istio.io/includeOutboundIPRanges": "REFMESH_INCLUDE_OUTBOUND_RANGES",
}
CONCURRENCY = "proxy.refmesh.io/concurrency"
"""Annotation: the worker threads of a proxy, of which one uses one core."""
_TUNING = {
    CONCURRENCY: "REFMESH_CONCURRENCY",
    "proxy.refmesh.io/drainSeconds": "REFMESH_DRAIN_SECONDS",
    "proxy.refmesh.io/listenerDrainSeconds": "REFMESH_LISTENER_DRAIN_SECONDS",
    "proxy.refmesh.io/logLevel": "REFMESH_LOG_LEVEL",
    "proxy.refmesh.io/certificateSeconds": "REFMESH_CERTIFICATE_SECONDS",
    "proxy.refmesh.io/statistics": "REFMESH_STATISTICS",
}


@dataclass(frozen=True)
class Config:
    """What all pods of a mesh have in common."""

    image: str
    root_pem: str
    control_plane: str = "refmesh.refmesh-system.svc"
    trust_domain: str = "cluster.local"
    pull_policy: str = "IfNotPresent"
    native: bool = True
    """Whether proxies are native sidecars, unless a pod wants it otherwise."""
    by_node: bool = False
    """Whether an agent on each node captures the pods' traffic, rather than a container of theirs with NET_ADMIN."""
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets, of each pod's own namespace, with which the image is pulled."""
    templates: Templates = NONE
    """What is merged over injected pods."""


def init_container(config: Config, annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the container that comes first and ends when capture is in force.

    It writes the rules itself, alone in having capabilities; or it waits for its node to do it, and has none. Either
    way its environment says what is captured.
    """
    shared = {
        "name": INIT,
        "image": config.image,
        "imagePullPolicy": config.pull_policy,
        "resources": resources.of_init(annotations),
    }
    env = [_env(name, value) for name, value in settings(annotations).items()]
    if config.by_node:
        return {
            **shared,
            "command": list(COMMAND),
            "env": [_field("NODE_NAME", "spec.nodeName"), *env],
            "securityContext": _security(),
        }
    return {
        **shared,
        "command": ["python", "-m", "refmesh.agent.capture"],
        "env": env,
        "securityContext": {
            **_security(),
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
        # iptables takes a lock in /run; the root file system is read-only
        "volumeMounts": [{"name": "refmesh-run", "mountPath": "/run"}],
    }


def settings(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return what a pod's annotations say of its capture, by the variables that `agent.capture` reads."""
    return excludes(annotations) | includes(annotations)


def _security() -> dict[str, Any]:
    """Return the security context of a container that runs as the proxy's user and fits the restricted profile."""
    return {
        "runAsUser": PROXY_UID,
        "runAsGroup": PROXY_UID,
        "runAsNonRoot": True,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def excludes(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return what is exempt from capture, by the variables that the init container reads."""
    return {variable: annotations[key] for key, variable in _EXCLUDES.items() if annotations.get(key)}


def includes(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return what alone is captured, by the variables that the init container reads; an empty text is: nothing."""
    return {variable: annotations[key] or "" for key, variable in _INCLUDES.items() if key in annotations}


def hooks() -> dict[str, Any]:
    """Return what the kubelet runs in the sidecar.

    It starts the next container, in either form, when the first returns: 20 ms after Envoy is ready. A startup probe
    would look once a second, and nothing waits for that of a classic sidecar.
    """
    return {
        "postStart": {"exec": {"command": ["python", "-m", "refmesh.agent.hooks", "wait"]}},
        "preStop": {"exec": {"command": ["python", "-m", "refmesh.agent.hooks", "drain"]}},
    }


def health() -> dict[str, Any]:
    """Return the sidecar's own probes: they ask the proxy alone, so that nothing else being away can take it down."""
    return {
        "readinessProbe": {
            "httpGet": {"path": "/healthz/ready", "port": READY_PORT, "scheme": "HTTP"},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        }
    }


def agent_command() -> list[str]:
    """Return what the proxy's container runs: the agent, which starts Envoy."""
    return ["python", "-m", "refmesh.agent"]


def proxy_container(
    config: Config,
    annotations: Mapping[str, str],
    app: str,
    service_account: str,
    probes: Mapping[str, Any],
    more: Mapping[str, str],
) -> dict[str, Any]:
    """Return the proxy's container; in a pod's init containers, `restartPolicy: Always` makes a native sidecar of it.

    `more` are further environment variables.
    """
    env = [
        _field("POD_NAME", "metadata.name"),
        _field("POD_NAMESPACE", "metadata.namespace"),
        _field("POD_IP", "status.podIP"),
        _env("SERVICE_ACCOUNT", service_account),
        _env(ROOTS, config.root_pem),
        _env("REFMESH_CONTROL_PLANE", config.control_plane),
        _env("REFMESH_TRUST_DOMAIN", config.trust_domain),
        *([_env("REFMESH_APP", app)] if app else []),
        *([_env("REFMESH_PROBES", json.dumps(probes, separators=(",", ":")))] if probes else []),
        *tuning(annotations),
        *(_env(name, value) for name, value in more.items()),
    ]
    return {
        "name": PROXY,
        "image": config.image,
        "imagePullPolicy": config.pull_policy,
        "command": agent_command(),
        "env": env,
        "resources": resources.of_proxy(annotations),
        "securityContext": _security(),
        "lifecycle": hooks(),
        **health(),
        "volumeMounts": [
            {"name": "refmesh-run", "mountPath": RUN_DIR},
            {"name": "refmesh-token", "mountPath": TOKEN_PATH.rpartition("/")[0], "readOnly": True},
        ],
    }


def tuning(annotations: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what the pod's annotations ask of its proxy, as environment."""
    return [_env(variable, annotations[key]) for key, variable in _TUNING.items() if annotations.get(key)]


def volumes() -> list[dict[str, Any]]:
    """Return the volumes: the agent's sockets in memory, and a token that is good for the mesh's CA only."""
    token = {
        "serviceAccountToken": {
            "audience": AUDIENCE,
            "expirationSeconds": _TOKEN_SECONDS,
            "path": TOKEN_PATH.rpartition("/")[2],
        }
    }
    return [
        {"name": "refmesh-run", "emptyDir": {"medium": "Memory"}},
        {"name": "refmesh-token", "projected": {"sources": [token]}},
    ]


def secret_names(text: str) -> tuple[str, ...]:
    """Return the names of Secrets of `a,b`."""
    return tuple(filter(None, text.split(",")))


def pulling(names: Sequence[str]) -> dict[str, Any]:
    """Return what a pod says of the Secrets with which its images are pulled."""
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}


def _env(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
