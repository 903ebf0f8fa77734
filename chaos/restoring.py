"""Put a cluster back that a dead run left broken."""

from __future__ import annotations

from chaos.faults.space import SPACE_PREFIX, Space
from chaos.janitor_objects import remove_rights
from chaos.log import LOG_NAMESPACE, STALE_SECONDS, age, read_heartbeat, replay
from chaos.model import Undo
from conformance.sweeping import sweep_dead
from fixtures.kube import MANAGED_BY, Kube
from reports.errors import EnvironmentProblem

__all__ = ["restore"]


def restore(kube: Kube, *, force: bool = False) -> list[Undo]:
    """Take back every fault in the log, then remove the log, the janitor and the namespaces left behind.

    Also those of checks and measurements, where a run of this machine that is no more has made them. Gives what was
    taken back. Raises EnvironmentProblem when a runner is alive, unless forced.
    """
    holder, beat = read_heartbeat(kube)
    if holder and age(beat) < STALE_SECONDS and not force:
        raise EnvironmentProblem(
            f"a chaos run ({holder}) is at work on this cluster",
            fix="stop it first; if it is dead, wait half a minute or pass --force",
        )
    undone = replay(kube)
    remove_rights(kube)
    for space in kube.list("v1", "Namespace", selector=MANAGED_BY):
        name = space["metadata"]["name"]
        if name == LOG_NAMESPACE or name.startswith(SPACE_PREFIX):
            kube.delete("v1", "Namespace", name)
    return undone + [Space.plan(name) for name in sweep_dead(kube)]
