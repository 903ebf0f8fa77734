"""The janitor that runs in the cluster: `python -m chaos.janitor`. Undoes faults whose runner has died.

It holds no state. Staleness is judged by its own clock: the heartbeat is dead when it has not changed for
STALE_SECONDS, whatever time it claims, so clocks that differ between runner and cluster do no harm.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from chaos.incluster import InCluster
from chaos.log import STALE_SECONDS, read_heartbeat, replay
from chaos.model import Cluster
from reports.errors import MeshproofError

__all__ = ["LOOKED", "Watchdog", "look", "main", "tend"]

LOOK_SECONDS = 2.0
"""Between two looks at the heartbeat."""
LOOKED = Path("/looked/last")
"""There while the last look could be made; what the pod's probes ask for."""


@dataclass
class Watchdog:
    """Tells when a heartbeat has stood still for too long."""

    limit: float
    """Seconds."""
    _last: tuple[str, str] | None = None
    _since: float = 0.0

    def dead(self, beat: tuple[str, str], now: float) -> bool:
        """Whether the runner is dead, given its heartbeat (holder and time) as read at `now` (a monotonic clock).

        A lease that was let go (no holder) is that of a run which ended: what it left in the log is nobody's.
        """
        if beat != self._last:
            self._last, self._since = beat, now
        return now - self._since >= self.limit

    def forget(self) -> None:
        """Begin anew: while nobody could look, no beat stood still."""
        self._last = None


def tend(cluster: Cluster, watchdog: Watchdog, now: float) -> list[str]:
    """One look: replay the log if its runner is dead. Gives the names of the faults that were undone."""
    try:
        beat = read_heartbeat(cluster)
    except MeshproofError:
        watchdog.forget()
        raise
    if not watchdog.dead(beat, now):
        return []
    return [undo.fault for undo in replay(cluster)]


def look(cluster: Cluster, watchdog: Watchdog, now: float, looked: Path) -> None:
    """One look, told in the pod's log. Where it could be made the file `looked` is there after it, and else it is not.

    So the pod is ready only while the janitor sees the log: one that cannot look would undo nothing.
    """
    try:
        for fault in tend(cluster, watchdog, now):
            print(f"undid {fault}: its runner is dead", flush=True)  # noqa: T201 - the pod's log
    except MeshproofError as problem:
        looked.unlink(missing_ok=True)
        print(problem, file=sys.stderr, flush=True)  # noqa: T201 - the next look tries again
    else:
        looked.touch()


def main() -> None:
    """Look until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    LOOKED.unlink(missing_ok=True)  # of a forerunner in this pod
    cluster, watchdog = InCluster.connect(), Watchdog(STALE_SECONDS)
    while True:
        look(cluster, watchdog, time.monotonic(), LOOKED)
        if stop.wait(LOOK_SECONDS):
            return


if __name__ == "__main__":
    main()
