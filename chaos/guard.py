"""What stands guard over a run: the log's namespace, the heartbeat, the janitor with just the rights it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chaos.interrupts import uninterrupted
from chaos.janitor_objects import delete_all, janitor_objects, rights_objects
from chaos.log import LOG_NAMESPACE, NotTakenBack, replay
from chaos.model import Right
from chaos.wal import heartbeat, holds
from fixtures.kube import Kube
from reports.console import say
from reports.errors import MeshproofError

__all__ = ["Allow", "afterwards", "guard"]

Object = Mapping[str, Any]
Allow = Callable[[Iterable[Right]], None]
"""Gives the janitor what it needs to take a fault back; replaces earlier rights in the same namespaces."""


@contextmanager
def guard(kube: Kube, image: str, holder: str) -> Iterator[Allow]:
    """Set the guard up for the length of a `with` block. The janitor may still be starting when the block begins.

    Raises EnvironmentProblem when another runner is at work on the cluster, NotTakenBack when a fault is in force at
    the end.
    """
    given: dict[tuple[str, str | None], Object] = {}  # by kind and namespace; remembered, as not all may look for them

    def allow(rights: Iterable[Right]) -> None:
        objects = rights_objects(rights)
        given.update({(one["kind"], one["metadata"].get("namespace")): one for one in objects})
        kube.apply(*objects)

    found = kube.get("v1", "Namespace", LOG_NAMESPACE)
    if found is not None and found["metadata"].get("deletionTimestamp"):
        kube.wait_gone("v1", "Namespace", LOG_NAMESPACE)
    kube.create_namespace(LOG_NAMESPACE)
    with heartbeat(kube, holder), afterwards(lambda: _dismiss(kube, holder, given.values())):
        kube.apply(*janitor_objects(image))
        yield allow


@contextmanager
def afterwards(clean_up: Callable[[], None]) -> Iterator[None]:
    """Clean up when the `with` block has ended, however it did.

    Where an interrupt ended it, a failure of the clean-up is said and the interrupt goes on: it alone ends a run.
    """
    try:
        yield
    except BaseException as error:
        interrupt = _interrupt_behind(error)
        try:
            clean_up()
        except Exception as problem:
            if interrupt is None:
                raise
            say(str(problem))
        if interrupt is not None:
            raise interrupt  # noqa: B904 - it came first: `error` is a failure of what was cleaned up within the block
        raise
    else:
        clean_up()


def _interrupt_behind(error: BaseException | None) -> BaseException | None:
    """What is no `Exception`: the error itself, or what was under way when it came."""
    while isinstance(error, Exception):
        error = error.__context__
    return error


def _dismiss(kube: Kube, holder: str, given: Iterable[Object]) -> None:
    """Take the guard away and the rights it was given, and first back what an interrupt or error has left in the log.

    Another interrupt waits until that is done. Where it is not possible the log stays with the janitor, which goes on
    trying once the heartbeat has stopped. A runner that was suspended for so long that another took over leaves
    everything to that one.
    """
    with uninterrupted():
        try:
            if not holds(kube, holder):
                say(f"the log in {LOG_NAMESPACE} is no longer this run's: it is left as it is")
                return
            replay(kube)
        except (MeshproofError, OSError) as problem:
            raise NotTakenBack(
                f"a fault is not taken back: {problem.problem if isinstance(problem, MeshproofError) else problem}",
                fix=f"the janitor in {LOG_NAMESPACE} goes on trying; `meshproof chaos restore` does it now",
            ) from problem
        try:
            delete_all(kube, given)
        finally:
            kube.delete("v1", "Namespace", LOG_NAMESPACE)
