"""Who made the namespaces of a run, and their removal: at its end, and by the next run where it was killed.

Everything of a run carries the label `meshproof.io/run`; its namespaces also name the runner that made them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fixtures.kube import Kube
from fixtures.kube.errors import rights_permitting
from fixtures.kube.runner import RUN_LABEL, RUNNER, elsewhere, is_dead
from reports.errors import EnvironmentProblem

__all__ = ["delete_space", "spaces_of", "strangers", "sweep", "sweep_dead"]

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


def sweep_dead(kube: Kube, *, everywhere: bool = False) -> list[str]:
    """Delete what killed runs of this machine left. Returns the namespaces; their deletion is not awaited.

    With `everywhere` also what any run of another machine made: whether that is over cannot be told from here.
    """
    left = [name for name, made_by in _made(kube) if is_dead(made_by) or (everywhere and elsewhere(made_by))]
    for name in left:
        delete_space(kube, name)
    return left


def strangers(kube: Kube) -> dict[str, list[str]]:
    """The namespaces that runs of other machines made, by the host name."""
    found: dict[str, list[str]] = {}
    for name, made_by in _made(kube):
        if host := elsewhere(made_by):
            found.setdefault(host, []).append(name)
    return found


def _made(kube: Kube) -> list[tuple[str, str]]:
    """Every namespace of a run that is not on its way out, and who made it."""
    found = (item["metadata"] for item in kube.list("v1", "Namespace", selector=RUN_LABEL))
    return [
        (meta["name"], meta.get("annotations", {}).get(RUNNER, ""))
        for meta in found
        if not meta.get("deletionTimestamp")
    ]
