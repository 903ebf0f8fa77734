"""Whose certificates clients of a Service accept: the service accounts of the pods behind it.

A cluster names them, so each change of the set sends the cluster anew to every proxy of the mesh, and a proxy builds it
anew, TLS context and statistics with it. While pods come and go one by one the set would change with nearly each of
them. So it is made to change seldom: pods count from when they are created, and for a while after they have left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from refmesh.config.model import Key, Pod, Service, Snapshot
from refmesh.discovery.endpoints import in_mesh

__all__ = ["LINGER_SECONDS", "Departures", "accounts"]

LINGER_SECONDS = 10.0
"""How long an account is still accepted after its last pod has left the Service: long enough for one pod to take
another's place, and for a namespace to go whose pods end first."""

_STARTING, _PRESENT = "pods without an address", "accounts behind Services"
_NOBODY: frozenset[str] = frozenset()


def accounts(snapshot: Snapshot, service: Service) -> tuple[str, ...]:
    """The accounts of everything behind the Service, ready or not, so that a new one is known in time.

    None before there is an endpoint: the pods that the Service selects are then still being created, one by one.
    """
    addressed, starting = _present(snapshot, service)
    found = addressed | snapshot.departed.get(service.key, _NOBODY)
    return tuple(sorted(found | starting)) if found else ()


def _present(snapshot: Snapshot, service: Service) -> tuple[frozenset[str], frozenset[str]]:
    """Accounts of pods that slices have, and of those that are starting."""
    known = snapshot.derived.setdefault(_PRESENT, {})
    if service.key not in known:
        known[service.key] = _addressed(snapshot, service), _starting(snapshot, service)
    found: tuple[frozenset[str], frozenset[str]] = known[service.key]
    return found


def _addressed(snapshot: Snapshot, service: Service) -> frozenset[str]:
    found = set()
    for piece in snapshot.slices.get(service.key, {}).values():
        for endpoint in piece.endpoints:
            pod = snapshot.pod_at(service.namespace, endpoint)
            if pod is not None and in_mesh(pod):
                found.add(pod.service_account)
    return frozenset(found) if found else _NOBODY


def _starting(snapshot: Snapshot, service: Service) -> frozenset[str]:
    """Accounts of pods that no slice has yet: those that the Service selects, and that have no address."""
    if _STARTING not in snapshot.derived:
        pods: dict[str, list[Pod]] = {}
        for pod in snapshot.pods.values():
            if not pod.address and in_mesh(pod):
                pods.setdefault(pod.namespace, []).append(pod)
        snapshot.derived[_STARTING] = pods
    candidates = snapshot.derived[_STARTING].get(service.namespace)
    if not candidates:
        return _NOBODY
    return frozenset(pod.service_account for pod in candidates if service.selects(pod.labels))


class Departures:
    """Remembers, from snapshot to snapshot, whose last pod has left a Service a moment ago."""

    def __init__(self, seconds: float = LINGER_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._present: dict[Key, frozenset[str]] = {}
        self._left: dict[Key, dict[str, float]] = {}
        """When each account is forgotten, by Service."""

    def noted(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what is remembered. Call it with every snapshot, in order."""
        now = self._clock()
        before, self._present = self._present, {}
        for key, service in snapshot.services.items():
            addressed, starting = _present(snapshot, service)
            present = addressed | starting if starting else addressed
            gone = before.get(key, _NOBODY) - present
            if gone:
                self._left.setdefault(key, {}).update(dict.fromkeys(gone, now + self._seconds))
            self._present[key] = present
        self._left = {
            key: kept
            for key, left in self._left.items()
            if key in self._present
            and (kept := {name: end for name, end in left.items() if end > now and name not in self._present[key]})
        }
        departed: Mapping[Key, frozenset[str]] = {key: frozenset(left) for key, left in self._left.items()}
        if not departed:
            return snapshot
        found = replace(snapshot, departed=MappingProxyType(departed))
        found.derived.update(snapshot.derived)
        return found

    @property
    def seconds_left(self) -> float | None:
        """How long until something that is remembered has to be forgotten; None while there is nothing."""
        ends = [end for left in self._left.values() for end in left.values()]
        return max(0.0, min(ends) - self._clock()) if ends else None
