"""Finds the network of a pod through /proc: a process that is really in the pod's control group, and its namespace.

An open folder of /proc stays with its process, so nothing read through it can be another's that got the same number.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from refmesh.node.cgroups import pod_of

__all__ = ["Network", "networks"]

_NOBODY = ""


@dataclass(frozen=True)
class Network:
    """A pod's network namespace and the process it was found by, both as open files; to be closed."""

    process: int
    namespace: int

    def alive(self) -> bool:
        """Whether the process still runs; where it does not, the pod may have another network by now."""
        return _inode("ns/net", self.process) is not None

    def close(self) -> None:
        """Let go of both."""
        os.close(self.process)
        os.close(self.namespace)


def networks(uids: Collection[str], proc: Path = Path("/proc")) -> dict[str, Network]:
    """Return the networks of pods, as far as they are there already; the caller closes them.

    A network is a pod's own if every process in it belongs to the pod: while a runtime starts a container, its process
    is in the pod's group already and still in the node's network, and a privileged pod may go to any. Of several the
    one of the oldest process is the pod's: the runtime's pause process comes first.
    """
    own = (proc / "self" / "cgroup").read_text(encoding="utf-8")
    members, others = defaultdict[str, list[int]](list), list[int]()
    for pid in _pids(proc):
        uid = _uid(pid, own, proc)
        members[uid].append(pid) if uid in uids else others.append(pid)
    if not members:
        return {}
    users = defaultdict[int, set[str]](set)
    for uid, pids in [*members.items(), (_NOBODY, others)]:
        for pid in pids:
            if (inode := _inode(f"{proc}/{pid}/ns/net")) is not None:
                users[inode].add(uid)
    found = ((uid, _network(uid, pids, users, own, proc)) for uid, pids in members.items())
    return {uid: network for uid, network in found if network is not None}


def _pids(proc: Path) -> Iterator[int]:
    with os.scandir(proc) as entries:
        yield from (int(entry.name) for entry in entries if entry.name.isdecimal())


def _uid(pid: int, own: str, proc: Path) -> str:
    try:
        # A group may have any name, and reading goes on. (pathlib would cost more, thousands of times)
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return pod_of(file.read(), own) or _NOBODY
    except OSError:
        return _NOBODY  # it has ended


def _network(uid: str, pids: list[int], users: dict[int, set[str]], own: str, proc: Path) -> Network | None:
    best: tuple[int, Network] | None = None
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            age, network = _open(proc / str(pid))
            ours = users.get(os.fstat(network.namespace).st_ino) == {uid} and _still(network, uid, own)
            if ours and (best is None or age < best[0]):
                if best is not None:
                    best[1].close()
                best = age, network
            else:
                network.close()
    return None if best is None else best[1]


def _open(folder: Path) -> tuple[int, Network]:
    """Open one process; with when it started, in ticks since the node did. Raises OSError."""
    process = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The name, in parentheses, may have any letter; start time is the 20th field after it (proc_pid_stat(5)).
        age = int(_read(process, "stat").rpartition(")")[2].split()[19])
        return age, Network(process, os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process))
    except OSError:
        os.close(process)
        raise


def _still(network: Network, uid: str, own: str) -> bool:
    """Whether the process is in the pod's group after its namespace was opened; one that has ended is not."""
    try:
        return pod_of(_read(network.process, "cgroup"), own) == uid
    except OSError:
        return False


def _read(process: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process), encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib knows no dir_fd
        return file.read()


def _inode(path: str, folder: int | None = None) -> int | None:
    """Of a file below an open folder; None where its process has ended."""
    try:
        return os.stat(path, dir_fd=folder).st_ino
    except OSError:
        return None
