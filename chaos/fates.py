"""What became of the scene's own pods meanwhile, and whether that excuses a mesh. Pure.

A cluster evicts, preempts and replaces pods as it sees fit, and others roll them out: no mesh can help that. But a
container that crashed, ran out of its memory or failed its probes excuses nobody. Kubernetes tells one from the other
by the status of a pod, while there is one, and by its events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaos.standing import OURS, Ending, Standing

__all__ = ["Fates", "fates", "fresh"]

Event = Mapping[str, Any]

DISRUPTIONS = frozenset(
    {
        *("Evicted", "EvictedByVPA", "Preempted", "Preempting", "ScaleDown", "TaintManagerEviction"),
        *("NodeNotReady", "SandboxChanged"),
    }
)
"""Reasons of events by which kubelets, the scheduler, node controllers and autoscalers say that it was they. A sandbox
is made anew where a node has restarted."""
CANCELLED = re.compile(r"^Cancelling deletion")
"""What the taint manager says, for the same reason, of a pod that it has thought better of."""
CHANGED = re.compile(r"definition changed|resize requires restart")
"""Why a kubelet ends a container of a pod that somebody has changed."""
FAILED_PROBE = re.compile(r"failed (liveness|startup) probe")
CRASH_LOOP = re.compile(r"restarting failed container")
BY_ITSELF = frozenset({"Completed", "Error", "OOMKilled"})
"""Reasons of containers that ended by themselves, or by a signal. All others are of a runtime that could not start one,
or has lost sight of it as when its node restarts."""


@dataclass(frozen=True)
class Fates:
    """What became of pods, in words."""

    strays: tuple[str, ...] = ()
    """Of those that the cluster or somebody else has changed, or nobody knows who."""
    crashes: tuple[str, ...] = ()
    """Of those whose containers ended, and how."""


def fresh(before: Sequence[Event] | None, after: Sequence[Event] | None) -> tuple[Event, ...] | None:
    """The events that are new, or have come about again; None where they could not be read."""
    if before is None or after is None:
        return None
    known = {_version(event) for event in before}
    return tuple(event for event in after if _version(event) not in known)


def fates(
    before: Mapping[str, Standing],
    after: Mapping[str, Standing],
    events: Sequence[Event] | None,
    victims: Iterable[str],
) -> Fates:
    """What became of all pods but the experiment's own victims. `events`: those of that time; None where unknown."""
    strays, crashes = [], []
    for name in sorted({name for name, was in before.items() if was.stays} - set(victims)):
        was, now = before[name], after.get(name)
        same = now if now is not None and now.uid == was.uid else None
        said = _of_pod(events or (), name, was.uid)
        ended = _ended(was, same)
        words = _crash(name, ended, said)
        if not (what := _what(was, now, ended)):
            crashes += words  # of the mesh's own containers, whoever ended them
        elif why := _disruption(same, said) or _short_of_memory(ended):
            strays.append(f"{name} {what} ({why})")
        # Without events nobody knows whether a node or a change of the pod's was behind it.
        elif words and events is not None and all(_by_itself(one) for key, one in ended.items() if key in OURS):
            crashes += words
        else:
            strays.append(f"{name} {what}")
    return Fates(tuple(strays), tuple(crashes))


def _version(event: Event) -> tuple[Any, Any]:
    return event["metadata"].get("uid"), event["metadata"].get("resourceVersion")


def _of_pod(events: Iterable[Event], name: str, uid: str) -> list[Event]:
    """The events of a pod, and its ReplicaSet's word that it has deleted it."""
    return [event for event in events if _about(event, name, uid) or _deleted_by_owner(event, name)]


def _about(event: Event, name: str, uid: str) -> bool:
    about = event.get("involvedObject") or {}
    # The taint manager does not know a pod's UID.
    return about.get("kind") == "Pod" and about.get("name") == name and (about.get("uid") or uid) == uid


def _deleted_by_owner(event: Event, name: str) -> bool:
    return event.get("reason") == "SuccessfulDelete" and str(event.get("message")).endswith(f" {name}")


def _ended(was: Standing, same: Standing | None) -> dict[str, Ending | None]:
    """The containers that have ended meanwhile, and how; None where that is not told."""
    if same is None:
        return {}
    found: dict[str, Ending | None] = {}
    for name in same.restarts:
        ending = same.endings.get(name)
        is_new = ending is not None and ending != was.endings.get(name)
        if is_new or same.restarts[name] > was.restarts.get(name, 0):
            found[name] = ending if is_new else None
    return found


def _what(was: Standing, now: Standing | None, ended: Iterable[str]) -> str:
    """What became of a pod; "" where nothing did but to the mesh's containers in it."""
    if now is None or (now.uid == was.uid and not now.stays):
        return "was taken away"
    if now.uid != was.uid:
        return "was replaced"
    return "was restarted" if OURS.intersection(ended) else ""


def _disruption(same: Standing | None, said: Iterable[Event]) -> str:
    """Why the cluster, or somebody by way of it, has changed a pod; "" where nobody says so."""
    if same is not None and same.disruption:
        return same.disruption
    for event in said:
        reason, message = str(event.get("reason", "")), str(event.get("message", ""))
        if reason == "SuccessfulDelete":
            return "by its ReplicaSet: a rollout, or fewer replicas"
        if (reason in DISRUPTIONS and not CANCELLED.search(message)) or CHANGED.search(message):
            return f"{reason}: {message}"
    return ""


def _short_of_memory(ended: Mapping[str, Ending | None]) -> str:
    """A container of ours without a limit is only killed where its whole node has no memory left."""
    for name, ending in ended.items():
        if name in OURS and ending is not None and ending.reason == "OOMKilled" and not ending.limited:
            return f"container {name} has no limit on memory, and its node had none left"
    return ""


def _by_itself(ending: Ending | None) -> bool:
    return ending is not None and ending.reason in BY_ITSELF


def _crash(name: str, ended: Mapping[str, Ending | None], said: Sequence[Event]) -> list[str]:
    """How containers of a pod ended: by its status, and by the events that outlive it."""
    how = {key: "was restarted" if one is None else one.words for key, one in ended.items()}
    messages = list(dict.fromkeys(str(event.get("message", "")) for event in said))
    probes = [one for one in messages if FAILED_PROBE.search(one)]
    loops = [one for one in messages if CRASH_LOOP.search(one)]
    return [
        *(f"container {key} of {name} {words}" for key, words in how.items()),
        *(f"{name}: {one}" for one in probes or ([] if ended else loops)),
    ]
