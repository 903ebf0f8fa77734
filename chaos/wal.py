"""The write-ahead log in the cluster, as its one writer sees it: the runner. Readers use `chaos.log`."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from chaos.log import LEASE, LOG_NAMESPACE, PENDING, STALE_SECONDS, Entry, age, read_heartbeat
from chaos.model import Undo
from fixtures.kube import MANAGED_BY, Kube
from reports.errors import EnvironmentProblem

__all__ = ["BEAT_SECONDS", "append", "heartbeat", "holds"]

BEAT_SECONDS = 5.0
"""Between two heartbeats of the runner."""


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

    Raises EnvironmentProblem when another runner's heart beats: two would undo each other's faults.
    """
    other, beat = read_heartbeat(kube)
    if other and other != holder and age(beat) < STALE_SECONDS:
        raise EnvironmentProblem(
            f"another chaos run ({other}) is at work on this cluster",
            fix=f"wait for its end; if it is dead, its lease runs out within {STALE_SECONDS:.0f} s",
        )
    _beat(kube, holder)
    over = threading.Event()

    def keep() -> None:
        while not over.wait(BEAT_SECONDS):
            try:
                if holds(kube, holder):
                    _beat(kube, holder)
            except EnvironmentProblem:
                continue  # a beat may be missed: the next comes long before the lease is stale

    thread = threading.Thread(target=keep, name="chaos heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(EnvironmentProblem):  # it went with its namespace; if not, it runs out by itself
            if holds(kube, holder):
                _beat(kube, "")


def holds(kube: Kube, holder: str) -> bool:
    """Whether the lease names this runner still: one that was suspended may have lost it to another."""
    return read_heartbeat(kube)[0] == holder


def _beat(kube: Kube, holder: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kube.apply(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": LOG_NAMESPACE, "labels": MANAGED_BY},
            "spec": {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": int(STALE_SECONDS)},
        }
    )
