"""Who made the namespaces of a run, and their removal: at its end, and by the next run where it was killed.

Everything of a run carries the label `meshproof.io/run`; its namespaces also name the runner that made them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fixtures.kube import Kube
from fixtures.kube.errors import rights_permitting
from fixtures.kube.runner import RUN_LABEL, RUNNER, is_dead
from reports.errors import EnvironmentProblem

__all__ = ["delete_space", "spaces_of", "sweep", "sweep_dead"]

GONE_SECONDS = 60.0


def delete_space(kube: Kube, name: str) -> None:
    """Begin to delete a namespace, its pods first and at once.

    The namespace controller looks only after five seconds, and again much later if pods are still ending then. No new
    pods can come meanwhile: the namespace is terminating.
    """
    if not kube.delete("v1", "Namespace", name):
        return
    for pod in kube.list("v1", "Pod", name):
        kube.delete("v1", "Pod", pod["metadata"]["name"], name, grace=1)


def spaces_of(kube: Kube, run: str, known: Iterable[str]) -> list[str]:
    """The namespaces of a run; those that are `known` to be its own where the user may not look for more."""
    with rights_permitting():
        known = [item["metadata"]["name"] for item in kube.list("v1", "Namespace", selector=f"{RUN_LABEL}={run}")]
    return list(known)


def sweep(kube: Kube, run: str, *, wait: bool = True, known: Iterable[str] = ()) -> list[str]:
    """Delete every namespace of a run and wait until they are gone. Returns the names of those that are not.

    Without `wait` the deletion is only begun, and nothing is returned. `known`: see `spaces_of`.
    """
    names = spaces_of(kube, run, known)
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
