"""Put a cluster back that a dead run left broken."""

from __future__ import annotations

from chaos.faults.space import SPACE_PREFIX, Space
from chaos.janitor_objects import remove_rights
from chaos.log import LOG_NAMESPACE, heartbeat_of, read_heartbeat, replay
from chaos.model import Undo
from chaos.wal import alive
from conformance.sweeping import strangers, sweep_dead
from fixtures.kube import MANAGED_BY, Kube
from fixtures.kube.errors import rights_permitting
from reports.errors import EnvironmentProblem

__all__ = ["left_standing", "restore"]


def restore(kube: Kube, *, force: bool = False, everywhere: bool = False, fix: str = "wait for its end") -> list[Undo]:
    """Take back every fault in the log, then remove the log, the janitor and the namespaces left behind.

    Also those of checks and measurements, where a run of this machine that is no more has made them, and with
    `everywhere` those that runs of other machines made. Gives what was taken back. Raises EnvironmentProblem with
    this `fix` when a runner is alive, unless forced; to know that one is dead takes half a minute.
    """
    holder, lease = ("", None) if force else alive(kube)
    if holder:
        raise _at_work(holder, fix)
    undone = replay(kube)
    now = read_heartbeat(kube)
    if now[0] and now != heartbeat_of(lease) and not force:
        raise _at_work(now[0], fix)  # it has begun meanwhile, and what follows would take its ground away
    remove_rights(kube)
    names = [LOG_NAMESPACE]
    with rights_permitting():
        found = kube.list("v1", "Namespace", selector=MANAGED_BY)
        names = [name for one in found if _is_ours(name := str(one["metadata"]["name"]))]
    with rights_permitting():
        for name in names:
            kube.delete("v1", "Namespace", name)
    swept: list[str] = []
    with rights_permitting():
        swept = sweep_dead(kube, everywhere=everywhere)
    return undone + [Space.plan(name) for name in swept]


def left_standing(kube: Kube) -> dict[str, list[str]]:
    """The namespaces that `restore` leaves as another machine's, by its host name: whether its run is over is unknown.

    Nothing where the user may not look for namespaces.
    """
    found: dict[str, list[str]] = {}
    with rights_permitting():
        found |= strangers(kube)
    return found


def _is_ours(name: str) -> bool:
    return name == LOG_NAMESPACE or name.startswith(SPACE_PREFIX)


def _at_work(holder: str, fix: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"a chaos run ({holder}) is at work on this cluster", fix=fix)
