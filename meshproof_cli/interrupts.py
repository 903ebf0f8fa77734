"""Being told to end is like Ctrl-C: what a command has begun, it still finishes or takes away."""

from __future__ import annotations

from fixtures import interrupts

__all__ = ["end_like_ctrl_c"]


def end_like_ctrl_c() -> None:
    """From now on the first SIGINT, SIGTERM or SIGHUP raises `KeyboardInterrupt`; the second no longer does."""
    interrupts.end_like_ctrl_c()
