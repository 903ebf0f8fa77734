"""What stands guard over a run: the log's namespace, the heartbeat, the janitor with just the rights it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaos.janitor_objects import janitor_objects, remove_rights, rights_objects
from chaos.log import LOG_NAMESPACE
from chaos.model import Right
from chaos.wal import heartbeat
from fixtures.kube import Kube

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
        stack.callback(lambda: kube.delete("v1", "Namespace", LOG_NAMESPACE))
        stack.callback(remove_rights, kube)
        kube.apply(*janitor_objects(image))
        yield


def allow(kube: Kube, *rights: Right) -> None:
    """Give the janitor what it needs to take a fault back; replaces earlier rights in the same namespaces."""
    if rights:
        kube.apply(*rights_objects(rights))
