"""Who made the namespaces of a run, and their removal: at its end, and by the next run where it was killed.

Everything of a run carries the label `meshproof.io/run`; its namespaces also name the runner that made them.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from fixtures.kube import Kube
from reports.errors import EnvironmentProblem

__all__ = ["RUNNER", "RUN_LABEL", "delete_space", "is_dead", "runner_name", "sweep", "sweep_dead"]

RUN_LABEL = "meshproof.io/run"
RUNNER = "meshproof.io/runner"
GONE_SECONDS = 60.0


def runner_name() -> str:
    """This process: host, process id and its start time, so that a reused process id is no alibi."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot; "" where it is gone or the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(runner: str) -> bool:
    """Whether a runner was on this machine and is no more. Runners elsewhere are presumed alive."""
    host, _, rest = runner.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _started(int(pid)) != started


def delete_space(kube: Kube, name: str) -> None:
    """Begin to delete a namespace, its pods first and at once.

    The namespace controller looks only after five seconds, and again much later if pods are still ending then. No new
    pods can come meanwhile: the namespace is terminating.
    """
    kube.delete("v1", "Namespace", name)
    for pod in kube.list("v1", "Pod", name):
        kube.delete("v1", "Pod", pod["metadata"]["name"], name, grace=1)


def sweep(kube: Kube, run: str, *, wait: bool = True) -> list[str]:
    """Delete every namespace of a run and wait until they are gone. Returns the names of those that are not.

    Without `wait` the deletion is only begun, and nothing is returned.
    """
    names = [item["metadata"]["name"] for item in kube.list("v1", "Namespace", selector=f"{RUN_LABEL}={run}")]
    for name in names:
        delete_space(kube, name)
    if not wait:
        return []
    deadline = time.monotonic() + GONE_SECONDS
    stuck = []
    for name in names:
        try:
            kube.wait_gone("v1", "Namespace", name, timeout=max(1.0, deadline - time.monotonic()))
        except EnvironmentProblem:
            stuck.append(name)
    return stuck


def sweep_dead(kube: Kube) -> list[str]:
    """Delete what killed runs of this machine left. Returns the namespaces; their deletion is not awaited."""
    found = kube.list("v1", "Namespace", selector=RUN_LABEL)
    left = [
        item["metadata"]["name"]
        for item in found
        if is_dead(item["metadata"].get("annotations", {}).get(RUNNER, ""))
        and not item["metadata"].get("deletionTimestamp")
    ]
    for name in left:
        delete_space(kube, name)
    return left
