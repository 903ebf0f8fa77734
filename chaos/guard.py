"""What stands guard over a run: the log's namespace, the heartbeat, the janitor with just the rights it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaos.janitor_objects import janitor_objects, remove_rights, rights_objects
from chaos.log import LOG_NAMESPACE, replay
from chaos.model import Right
from chaos.wal import heartbeat
from fixtures.kube import Kube
from reports.errors import EnvironmentProblem, MeshproofError

__all__ = ["allow", "guard"]


@contextmanager
def guard(kube: Kube, image: str, holder: str) -> Iterator[None]:
    """Set the guard up for the length of a `with` block. The janitor may still be starting when the block begins.

    Raises EnvironmentProblem when another runner is at work on the cluster.
    """
    found = kube.get("v1", "Namespace", LOG_NAMESPACE)
    if found is not None and found["metadata"].get("deletionTimestamp"):
        kube.wait_gone("v1", "Namespace", LOG_NAMESPACE)
    kube.create_namespace(LOG_NAMESPACE)
    with ExitStack() as stack:
        stack.enter_context(heartbeat(kube, holder))
        stack.callback(_dismiss, kube)
        kube.apply(*janitor_objects(image))
        yield


def _dismiss(kube: Kube) -> None:
    """Take the guard away, and first back what an interrupt or an error has left in the log.

    Where that is not possible the log stays with the janitor, which goes on trying once the heartbeat has stopped.
    """
    try:
        replay(kube)
    except MeshproofError as problem:
        raise EnvironmentProblem(
            f"a fault is not taken back: {problem.problem}",
            fix=f"the janitor in {LOG_NAMESPACE} goes on trying; `meshproof chaos restore` does it now",
        ) from problem
    remove_rights(kube)
    kube.delete("v1", "Namespace", LOG_NAMESPACE)


def allow(kube: Kube, *rights: Right) -> None:
    """Give the janitor what it needs to take a fault back; replaces earlier rights in the same namespaces."""
    if rights:
        kube.apply(*rights_objects(rights))
