"""The write-ahead log in the cluster, as its readers see it: undo entries and the runner's heartbeat.

An entry (a ConfigMap) is written before its fault acts and removed after it was taken back, so the entries that exist
are what is still to be undone. Whoever finds the heartbeat stopped may replay them; every undo is harmless when done
twice. Read by the runner and by the janitor in its pod, so it imports little.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.faults import FAULTS
from chaos.faults.space import Space
from chaos.model import Cluster, Undo
from reports.errors import EnvironmentProblem, MeshproofError
from reports.model import JSON, Result

__all__ = [
    "LEASE",
    "LOG_NAMESPACE",
    "PENDING",
    "STALE_SECONDS",
    "UNDOS",
    "Entry",
    "NotTakenBack",
    "heartbeat_of",
    "parse_entry",
    "pending",
    "read_heartbeat",
    "remove",
    "replay",
]

LOG_NAMESPACE = "meshproof-chaos"
LEASE = "runner"
PENDING = {"meshproof.io/undo": "pending"}
STALE_SECONDS = 30.0
"""A heartbeat that has not moved for this long, by the clock of whoever looks, is that of a dead runner."""

UNDOS: Mapping[str, Callable[[Cluster, Mapping[str, JSON]], None]] = {
    **{name: fault.undo for name, fault in FAULTS.items()},
    Space.name: Space.undo,
}
"""How each kind of entry is taken back."""


class NotTakenBack(EnvironmentProblem):
    """A fault is in force still: nothing may be judged on this cluster before it is gone."""

    results: tuple[Result, ...] = ()
    """What was found out before, and what was not because of it; filled in by `chaos.run`."""


@dataclass(frozen=True)
class Entry:
    """One entry of the log."""

    name: str
    """Of its ConfigMap; later entries sort later."""
    undo: Undo


def parse_entry(item: Mapping[str, Any]) -> Entry:
    """Read an entry's ConfigMap. Raises EnvironmentProblem when somebody damaged it."""
    name = item["metadata"]["name"]
    try:
        arguments = json.loads(item["data"]["arguments"])
        fault = str(item["data"]["fault"])
    except (KeyError, TypeError, ValueError) as problem:
        raise _damaged(name, problem) from problem
    if fault not in UNDOS or not isinstance(arguments, dict):
        raise EnvironmentProblem(
            f"the undo entry {LOG_NAMESPACE}/{name} names the fault {fault!r}, which this version does not know",
            fix="run `meshproof chaos restore` of the version that wrote it",
        )
    return Entry(name, Undo(fault, arguments))


def _damaged(name: str, problem: Exception) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the undo entry {LOG_NAMESPACE}/{name} cannot be read: {problem!r}",
        fix="look at the ConfigMap, take the fault it names back by hand and delete it",
    )


def pending(cluster: Cluster) -> list[Entry]:
    """What is still to be undone, in the order it was written."""
    return [parse_entry(item) for item in _items(cluster)]


def _items(cluster: Cluster) -> list[dict[str, Any]]:
    selector = ",".join(f"{name}={value}" for name, value in PENDING.items())
    return sorted(cluster.list("v1", "ConfigMap", LOG_NAMESPACE, selector), key=lambda item: item["metadata"]["name"])


def remove(cluster: Cluster, entry: Entry) -> None:
    """Remove an entry whose fault was taken back."""
    cluster.delete("v1", "ConfigMap", entry.name, LOG_NAMESPACE)


def replay(cluster: Cluster) -> list[Undo]:
    """Undo everything pending, the latest first, and remove each entry. Gives what was undone.

    One undo that fails, or whose entry is damaged, does not keep the others from being tried; its entry stays and the
    first error is raised.
    """
    undone: list[Undo] = []
    failed: list[MeshproofError] = []
    for item in reversed(_items(cluster)):
        try:
            entry = parse_entry(item)
            UNDOS[entry.undo.fault](cluster, entry.undo.arguments)
        except MeshproofError as problem:
            failed.append(problem)
            continue
        except OSError as problem:  # of a library that an undo uses; before ValueError, which some of them are too
            name = f"{LOG_NAMESPACE}/{item['metadata']['name']}"
            failed.append(EnvironmentProblem(f"the undo entry {name} cannot be carried out: {problem}"))
            continue
        except (KeyError, TypeError, ValueError) as problem:
            failed.append(_damaged(item["metadata"]["name"], problem))
            continue
        remove(cluster, entry)
        undone.append(entry.undo)
    if failed:
        raise failed[0]
    return undone


def read_heartbeat(cluster: Cluster) -> tuple[str, str]:
    """The holder and the time of the last beat; empty texts where there is none."""
    return heartbeat_of(cluster.get("coordination.k8s.io/v1", "Lease", LEASE, LOG_NAMESPACE))


def heartbeat_of(lease: Mapping[str, Any] | None) -> tuple[str, str]:
    """The same of a lease that was read."""
    spec = lease["spec"] if lease else {}
    return str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
