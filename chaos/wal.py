"""The write-ahead log in the cluster, as its one writer sees it: the runner. Readers use `chaos.log`."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from chaos.log import LEASE, LOG_NAMESPACE, PENDING, STALE_SECONDS, Entry, heartbeat_of, read_heartbeat
from chaos.model import Undo
from fixtures.kube import MANAGED_BY, ApiProblem, Kube, NotEventually, eventually
from reports.errors import EnvironmentProblem

__all__ = ["BEAT_SECONDS", "alive", "append", "heartbeat", "holds"]

BEAT_SECONDS = 5.0
"""Between two heartbeats of the runner."""
CALL_SECONDS = 5.0
"""For each call of a beat: while one hangs no other is made, and the lease is stale before the usual limit is over."""
LOOK_SECONDS = 0.5
"""Between two looks at another's."""
CONFLICT = 409

Lease = dict[str, Any] | None
"""The lease's object as it was read; None where there is none."""


def append(kube: Kube, undo: Undo) -> Entry:
    """Write an entry; when this returns, it is in the cluster's store."""
    name = f"undo-{time.time_ns() // 1_000_000:014d}-{secrets.token_hex(2)}"
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": LOG_NAMESPACE, "labels": {**MANAGED_BY, **PENDING}},
            "data": {"fault": undo.fault, "arguments": json.dumps(dict(undo.arguments), sort_keys=True)},
        }
    )
    return Entry(name, undo)


@contextmanager
def heartbeat(kube: Kube, holder: str) -> Iterator[None]:
    """Hold the lease for the length of a `with` block, and let it go at the end; both only while nobody took it over.

    Raises EnvironmentProblem when another runner's heart beats, or took the lease at the same time: two would undo each
    other's faults.
    """
    _take(kube, holder)
    over = threading.Event()

    def keep() -> None:
        while not over.wait(BEAT_SECONDS):
            with suppress(EnvironmentProblem):  # a beat may be missed: the next comes long before the lease is stale
                _beat_on(kube, holder, holder)

    thread = threading.Thread(target=keep, name="chaos heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(EnvironmentProblem):  # it went with its namespace; if not, it runs out by itself
            _beat_on(kube, holder, "")


def holds(kube: Kube, holder: str) -> bool:
    """Whether the lease names this runner still: one that was suspended may have lost it to another."""
    return read_heartbeat(kube)[0] == holder


def alive(kube: Kube) -> tuple[str, Lease]:
    """Whose heart beats ("": nobody's), and the lease as it was read last.

    Dead is a heart whose beat stood still for STALE_SECONDS of this machine's clock; when it claims to have beaten is
    told by another machine's. So a runner that lives shows within a beat, and of one that died that long is waited.
    """
    lease = first = _read(kube)
    if not heartbeat_of(first)[0]:
        return "", first

    def moved() -> bool:
        nonlocal lease
        lease = _read(kube)
        return heartbeat_of(lease) != heartbeat_of(first)

    try:
        eventually(moved, timeout=STALE_SECONDS, interval=LOOK_SECONDS, what="the heart of another chaos run beats")
    except NotEventually as problem:
        if isinstance(problem.last, Exception):  # nobody could look
            raise
        return "", lease
    return heartbeat_of(lease)[0], lease


def _take(kube: Kube, holder: str) -> None:
    other, lease = alive(kube)
    if other and other != holder:
        raise EnvironmentProblem(f"another chaos run ({other}) is at work on this cluster", fix="wait for its end")
    try:
        _beat(kube, holder, lease)
    except ApiProblem as problem:
        if problem.status != CONFLICT:
            raise
        raise EnvironmentProblem(
            "another chaos run has begun on this cluster at the same moment", fix="wait for its end"
        ) from problem


def _read(kube: Kube, timeout: float | None = None) -> Lease:
    return kube.get("coordination.k8s.io/v1", "Lease", LEASE, LOG_NAMESPACE, timeout=timeout)


def _beat_on(kube: Kube, holder: str, heir: str) -> None:
    """Beat for `heir`, while the lease is the holder's."""
    lease = _read(kube, CALL_SECONDS)
    if heartbeat_of(lease)[0] == holder:
        _beat(kube, heir, lease, CALL_SECONDS)


def _beat(kube: Kube, holder: str, lease: Lease, timeout: float | None = None) -> None:
    """Write a beat over the lease as it was read; ApiProblem of status CONFLICT where somebody has written since."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": int(STALE_SECONDS)}
    if lease is None:
        metadata = {"name": LEASE, "namespace": LOG_NAMESPACE, "labels": MANAGED_BY}
        kube.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
        return
    read = {"resourceVersion": lease["metadata"]["resourceVersion"]}
    body = {"metadata": read, "spec": spec}
    kube.patch("coordination.k8s.io/v1", "Lease", LEASE, body, LOG_NAMESPACE, timeout=timeout)
