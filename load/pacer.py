"""Waiting until an instant, to some tens of microseconds, inside gevent.

gevent's own timers have the granularity of epoll's timeout, one millisecond, which is far above what a proxy adds.
A timerfd is a file descriptor the hub can wait for like any other and fires with the kernel's high resolution timers.
Measured beside `gevent.sleep` in benchmarks/load_overhead.py.
"""

from __future__ import annotations

import ctypes
import os
import time

import gevent

__all__ = ["Pacer", "tighten_timer_slack"]

_libc = ctypes.CDLL(None, use_errno=True)
_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_PR_SET_TIMERSLACK = 29


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def tighten_timer_slack() -> None:
    """Ask the kernel to fire this process's timers without the 50 µs of slack it grants itself for saving power."""
    _libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


class Pacer:
    """One waiter; not shared between greenlets. Close it when done."""

    def __init__(self) -> None:
        self._fd = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(self._fd, 1)
        self._request = _Itimerspec()

    def until(self, instant: float) -> None:
        """Return at `instant` (seconds of `time.perf_counter`), at once when it has passed."""
        if instant <= time.perf_counter():
            return
        seconds = int(instant)
        self._request.value.seconds = seconds
        self._request.value.nanoseconds = int((instant - seconds) * 1e9)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._request), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._hub.wait(self._watcher)
        os.read(self._fd, 8)

    def close(self) -> None:
        """Give the descriptor back."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)
