"""Goes into a pod's network and puts its rules in force: `python -m refmesh.node.enter FD`, a process for each capture.

FD is the open network namespace. Only the network is the pod's: programs and files are the agent's own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from collections.abc import Sequence

from refmesh.agent import capture

__all__ = ["enter", "main"]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_NS_GET_USERNS = 0xB701  # linux/nsfs.h


def main(arguments: Sequence[str]) -> int:
    """Enter and apply; returns the exit code."""
    try:
        enter(int(arguments[0]))
        return 0 if capture.put_in_force(capture.documents(os.environ, early=True), once=True) else 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"refmesh-node: {error}\n")
        return 2


def enter(network: int) -> None:
    """Move this process, which must have one thread, into a network namespace. Raises OSError.

    The kernel takes rules about users only from the user namespace that owns the network: a pod with `hostUsers: false`
    has one of its own.
    """
    owner = fcntl.ioctl(network, _NS_GET_USERNS)
    if os.fstat(owner).st_ino != os.stat("/proc/self/ns/user").st_ino:  # noqa: PTH116
        _setns(owner, _CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    _setns(network, _CLONE_NEWNET)


def _setns(namespace: int, kind: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"the pod's network cannot be entered: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
