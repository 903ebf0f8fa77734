"""What the API server says about a pod of this node that concerns its capture. Pure.

What is to be done comes from the command and the environment of one of the pod's containers, which the injector wrote
and nobody can change after the pod's admission. Of the status only how far the pod's start has come is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refmesh.agent.awaiting import COMMAND
from refmesh.agent.capture import VARIABLES, asked
from refmesh.injector.containers import INIT, LONGEST_SETTINGS

__all__ = ["Wanted", "wanted"]


@dataclass(frozen=True)
class Wanted:
    """A pod that waits for its capture."""

    uid: str
    name: str
    """namespace/name, for messages."""
    settings: Mapping[str, str]
    """By the names of `capture.VARIABLES`, and no others."""
    problem: str = ""
    """Why they cannot be carried out: such a pod waits in vain, for nothing of it can change."""


def wanted(pod: Mapping[str, Any], node: str) -> Wanted | None:
    """Return what is to be done for a pod now, or None."""
    metadata, spec, status = pod.get("metadata") or {}, pod.get("spec") or {}, pod.get("status") or {}
    if str(spec.get("nodeName")) != node or spec.get("hostNetwork") or status.get("phase") in {"Succeeded", "Failed"}:
        return None
    inits = spec.get("initContainers") or []
    index = next((i for i, one in enumerate(inits) if one.get("name") == INIT), None)
    if index is None or tuple(inits[index].get("command") or ()) != COMMAND:
        return None
    states = {one.get("name"): one.get("state") or {} for one in status.get("initContainerStatuses") or ()}
    state = states.get(INIT, {})
    if "terminated" in state and state["terminated"].get("exitCode") == 0:
        return None
    # What is before it (a classic sidecar comes after the user's own) has a network without the mesh until it ends.
    if index > 0 and "running" not in state:
        return None
    name = f"{metadata.get('namespace')}/{metadata.get('name')}"
    env = {str(one.get("name")): str(one.get("value") or "") for one in inits[index].get("env") or ()}
    settings = {key: env[key] for key in VARIABLES if key in env}
    return Wanted(str(metadata.get("uid")), name, settings, _problem(settings))


def _problem(settings: Mapping[str, str]) -> str:
    if sum(map(len, settings.values())) > LONGEST_SETTINGS:
        return f"what it says of its capture is above {LONGEST_SETTINGS} letters"
    try:
        asked(settings)
    except ValueError as error:
        return str(error)
    return ""
