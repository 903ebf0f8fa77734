"""Whether the application still runs, by its sockets: a pod's containers share a network and see no other process.

A native sidecar is stopped after the application. A classic one is told to stop at the same moment as the application,
and looks by itself how long that goes on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from refmesh.agent.places import PROXY_UID

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["open_sockets", "outlive"]

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_OPEN = {"01", "02", "08", "0A"}
"""ESTABLISHED, SYN_SENT, CLOSE_WAIT, LISTEN (the kernel's include/net/tcp_states.h)."""
_STATE, _UID, _INODE = 3, 7, 9
_LOOK_SECONDS = 0.25
_LOOKS = 2


def open_sockets(lines: Iterable[str], proxy_uid: int = PROXY_UID) -> int:
    """Return how many sockets in a table of /proc/net/tcp a process other than the proxy holds open."""
    found = 0
    for line in lines:
        fields = line.split()
        # What belongs to no process any more has inode 0; the head of the table has words there.
        if len(fields) > _INODE and fields[_STATE] in _OPEN and fields[_INODE] != "0":
            found += fields[_UID] != str(proxy_uid)
    return found


def outlive() -> None:
    """Return when the application has no socket open, at two looks in a row; the kubelet ends what takes too long."""
    quiet = 0
    while quiet < _LOOKS:
        quiet = 0 if sum(map(_of_table, _TABLES)) else quiet + 1
        time.sleep(_LOOK_SECONDS)


def _of_table(path: str) -> int:
    try:
        with open(path, encoding="ascii") as table:  # noqa: PTH123  (pathlib costs the agent 5 ms of start)
            return open_sockets(table)
    except OSError:
        return 0  # without IPv6 there is no table of it
