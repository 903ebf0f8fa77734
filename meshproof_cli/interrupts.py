"""Being told to end is like Ctrl-C: what a command has begun, it still finishes or takes away."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["end_like_ctrl_c"]


def end_like_ctrl_c() -> None:
    """From now on SIGTERM and SIGHUP raise `KeyboardInterrupt` in the main thread; `nohup` stays in force."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
