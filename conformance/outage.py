"""Takes a mesh's control plane away for a while, and gives it back whatever happens.

How many replicas it had is written into the same change that takes them away, beside who did it: where the run dies
before it can put them back, the next run on the machine does.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from fixtures.kube import Kube, eventually
from fixtures.kube.errors import rights_permitting
from fixtures.kube.runner import RUNNER, is_dead, runner_name

__all__ = ["Turns", "restore", "stopped"]

UNDO = "meshproof.io/replicas-before"
GONE_SECONDS = 30.0
BACK_SECONDS = 60.0
_KIND = ("apps/v1", "Deployment")


@contextlib.contextmanager
def stopped(
    kube: Kube, where: tuple[str, str], *, silent: Callable[[Mapping[str, Any]], bool] | None = None
) -> Iterator[None]:
    """No pod of the control plane (namespace, Deployment) runs while the block does; afterwards it is available again.

    Also after Ctrl-C. `silent` is for who is in a hurry: pods are given a second to end, and those of which it is true
    are gone, since a busy node takes long to have them leave the API. Raises `LookupError` where there is no such
    Deployment, and `NotEventually` where its pods do not end or come back in time.
    """
    namespace, name = where
    found = kube.get(*_KIND, name, namespace)
    if found is None:
        raise LookupError(f"there is no Deployment {name} in {namespace}")
    replicas = int(found["spec"].get("replicas", 1))
    marks = {UNDO: str(replicas), RUNNER: runner_name()}
    selector = found["spec"]["selector"]["matchLabels"]
    try:
        kube.patch(*_KIND, name, {"metadata": {"annotations": marks}, "spec": {"replicas": 0}}, namespace)
        gone = _ending(kube, namespace, selector, silent)
        eventually(gone, timeout=GONE_SECONDS, what=f"every pod of {namespace}/{name} ended")
        yield
    finally:
        _put_back(kube, where, replicas)
        kube.wait_rollout(namespace, name, BACK_SECONDS)


def _ending(
    kube: Kube, namespace: str, selector: Mapping[str, str], silent: Callable[[Mapping[str, Any]], bool] | None
) -> Callable[[], bool]:
    """What tells that the pods have ended; where they are told to be quick, they are told so here."""
    if silent is None:
        return lambda: not kube.list("v1", "Pod", namespace, selector)
    pods = kube.list("v1", "Pod", namespace, selector)
    for pod in pods:
        kube.delete("v1", "Pod", pod["metadata"]["name"], namespace, grace=1)
    return lambda: all(map(silent, pods))


def _put_back(kube: Kube, where: tuple[str, str], replicas: int) -> None:
    marks = dict.fromkeys((UNDO, RUNNER))
    body = {"metadata": {"annotations": marks}, "spec": {"replicas": replicas}}
    kube.patch(*_KIND, where[1], body, where[0])


def restore(kube: Kube, where: tuple[str, str] | None) -> bool:
    """Put back what a dead run took away in the control plane's namespace. True if there was something to put back."""
    if where is None:
        return False
    left: list[dict[str, Any]] = []
    with rights_permitting():  # who may not look at it has not taken it away either
        left = [one for one in kube.list(*_KIND, where[0]) if _is_left(one["metadata"].get("annotations") or {})]
    for one in left:
        place = where[0], str(one["metadata"]["name"])
        _put_back(kube, place, int(one["metadata"]["annotations"][UNDO]))
        kube.wait_rollout(*place, BACK_SECONDS)
    return bool(left)


def _is_left(marks: Mapping[str, str]) -> bool:
    return UNDO in marks and is_dead(marks.get(RUNNER, ""))


class Turns:
    """Who of a run's processes on this machine judges: all at a time, until one must be alone with the mesh.

    That one waits until the others have judged everything they have to, and so have no ground left that needs the mesh.
    """

    def __init__(self, run: str) -> None:
        self._path = Path(tempfile.gettempdir()) / f"meshproof-{run}.turn"
        self._file: IO[str] | None = None
        self._alone = False

    def take(self, *, alone: bool) -> None:
        """Wait until this process may go on judging; the turn is kept until `close`."""
        if self._file is None:
            self._file = self._path.open("a")
        elif alone == self._alone:
            return
        fcntl.flock(self._file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        self._alone = alone

    def close(self) -> None:
        """This process judges nothing more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def end(self) -> None:
        """No process of the run takes turns any more."""
        self._path.unlink(missing_ok=True)
