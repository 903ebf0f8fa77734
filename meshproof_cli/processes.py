"""Starting our own modules as programs, from a clone as well as installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

__all__ = ["Child", "child_command", "module_command", "module_environment", "watched"]

_LOOK_SECONDS = 0.3  # between looks at whether a child is late or not wanted any more
_ROOT = Path(__file__).resolve().parent.parent


class Child:
    """A program of ours under way; the end of the block waits for its end.

    It has a session of its own, so a terminal's Ctrl-C reaches us alone: the child is told by us, and once, for a
    second signal would cut its clean-up short. It and all it started are killed where it takes longer than `patience`
    seconds to end then. An error in the block tells it to end, too, and goes on when it has ended.
    """

    def __init__(self, command: Sequence[str], patience: float, **how: Any) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._killer: threading.Timer | None = None
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, text=True, encoding="utf-8", errors="replace", start_new_session=True,
            **how,
        )  # fmt: skip

    def tell_to_end(self) -> None:
        """Interrupt it. Any thread may; twice is once."""
        with self._lock:
            if self._killer is not None:
                return
            self._killer = threading.Timer(self._patience, self.kill)
            self._killer.daemon = True
            self._killer.start()
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it and all it started, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                self.tell_to_end()
            self.process.wait()
        except BaseException:
            self.kill()
            self.process.wait()
            raise
        finally:
            if self._killer is not None:
                self._killer.cancel()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()


@contextmanager
def watched(child: Child, limit: float, cancel: threading.Event | None) -> Iterator[threading.Event]:
    """Tell the child to end when it is late or not wanted any more; the event is set if it was late."""
    late, ended = threading.Event(), threading.Event()
    deadline = time.monotonic() + limit

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            if time.monotonic() > deadline:
                late.set()
            if late.is_set() or (cancel is not None and cancel.is_set()):
                child.tell_to_end()
                return

    watcher = threading.Thread(target=watch, name="child watcher", daemon=True)
    watcher.start()
    try:
        yield late
    finally:
        ended.set()
        watcher.join()


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `module`. `-P` keeps the user's directory, which may hold a `reports`, off the path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_command(module: str, *arguments: str) -> list[str]:
    """As `module_command`, for a child that must not outlive us."""
    return module_command("meshproof_cli.tethered", str(os.getpid()), module, *arguments)


def module_environment(extra: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """Our environment, with the place we were imported from first on the path."""
    path = os.environ.get("PYTHONPATH", "")
    parts = [str(_ROOT), *(part for part in path.split(os.pathsep) if part and part != str(_ROOT))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(parts), **dict(extra)}
