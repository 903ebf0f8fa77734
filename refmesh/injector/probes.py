"""Probes and hooks of an injected pod: the kubelet asks the agent, the agent the application (`refmesh.agent.probes`).

Without this, a probe or a life-cycle hook over HTTP of the kubelet (which has no mesh certificate) is reset in STRICT
mode.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from refmesh.agent.places import AGENT_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HOOKS", "KINDS", "rewrite", "rewrite_hook"]

KINDS = {"startupProbe": "startupz", "readinessProbe": "readyz", "livenessProbe": "livez"}
HOOKS = {"postStart": "poststart", "preStop": "prestop"}
_NETWORK = ("httpGet", "tcpSocket", "grpc")
_GRACE_SECONDS = 30
"""A pod's grace period where it names none; the kubelet waits for preStop as long as that lasts, and no longer."""
_START_SECONDS = 3600
"""The kubelet waits for postStart without end. The agent does not, lest a hook that hangs hold a thread for ever."""


def rewrite(container: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], str, dict[str, Any]] | None:
    """Return (probe for the kubelet, path at the agent, the application's probe), or None where nothing must change.

    Probes by exec do not use the network, and a probe of another host is that host's business.
    """
    probe = container.get(kind)
    action = next((name for name in _NETWORK if isinstance(probe, dict) and isinstance(probe.get(name), dict)), None)
    if probe is None or action is None or probe[action].get("host"):
        return None
    port = _port_number(container, probe[action].get("port"))
    if port is None:
        return None  # the API server rejects such a pod by itself
    path = f"/app-health/{container.get('name', '')}/{KINDS[kind]}"
    original = {action: probe[action] | {"port": port}, "timeoutSeconds": probe.get("timeoutSeconds") or 1}
    others = {name: value for name, value in probe.items() if name not in _NETWORK}
    return others | {"httpGet": {"path": path, "port": AGENT_PORT, "scheme": "HTTP"}}, path, original


def _port_number(container: Mapping[str, Any], port: object) -> int | None:
    if isinstance(port, int):
        return port
    named = (entry for entry in container.get("ports") or () if entry.get("name") == port)
    number = next((entry.get("containerPort") for entry in named), None)
    if number is None and isinstance(port, str) and port.isdecimal():
        return int(port)
    return number if isinstance(number, int) else None


def rewrite_hook(
    container: Mapping[str, Any], kind: str, spec: Mapping[str, Any]
) -> tuple[dict[str, Any], str, dict[str, Any]] | None:
    """Return (hook for the kubelet, path at the agent, the application's request), or None where nothing must change.

    Hooks by exec and sleep do not use the network, and a request to another host is that host's business. A hook acts
    where a probe only asks, and anybody reaches the agent's port whatever policies say: no one can guess the path.
    """
    hook = (container.get("lifecycle") or {}).get(kind)
    request = hook.get("httpGet") if isinstance(hook, dict) else None
    if not isinstance(request, dict) or request.get("host"):
        return None
    port = _port_number(container, request.get("port"))
    if port is None:
        return None  # the API server rejects such a pod by itself
    path = f"/app-lifecycle/{container.get('name', '')}/{HOOKS[kind]}/{secrets.token_urlsafe(16)}"
    original = {"httpGet": request | {"port": port}, "timeoutSeconds": _patience(kind, spec)}
    return {"httpGet": {"path": path, "port": AGENT_PORT, "scheme": "HTTP"}}, path, original


def _patience(kind: str, spec: Mapping[str, Any]) -> int:
    """For how many seconds the agent waits for a hook: no less than the kubelet itself would."""
    if kind == "postStart":
        return _START_SECONDS
    grace = spec.get("terminationGracePeriodSeconds")  # 0 is a grace period, too
    return grace if isinstance(grace, int) else _GRACE_SECONDS
