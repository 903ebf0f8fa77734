"""Takes connections in for as long as the process lives.

A moment without memory, threads or files costs the connection that it meets, and no other: without probes a pod would
be restarted again and again, without secrets its certificate would run out.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from refmesh.agent.settings import log

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["accept_in_thread"]

_PAUSE_SECONDS = 0.1
_LOST = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}


def accept_in_thread(listener: socket.socket, name: str, take: Callable[[socket.socket, Any], None]) -> None:
    """Call `take` with each connection and its address, in a thread of its own.

    One that it fails to take, with OSError or RuntimeError (no thread can be started), is closed.
    """
    threading.Thread(target=_accept, args=(listener, name, take), name=name, daemon=True).start()


def _accept(listener: socket.socket, name: str, take: Callable[[socket.socket, Any], None]) -> None:
    while True:
        try:
            connection, address = listener.accept()
        except OSError as error:
            log(f"{name}: no connection could be taken: {error}")
            if error.errno in _LOST:
                # Nobody will be served here any more. In order: the container is started anew.
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(_PAUSE_SECONDS)
            continue
        try:
            take(connection, address)
        except (OSError, RuntimeError) as error:
            log(f"{name}: a connection could not be served: {error}")
            connection.close()
            time.sleep(_PAUSE_SECONDS)
