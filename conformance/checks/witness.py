"""A witness of stalls for checks that judge times: a pulse past the client that is judged and its proxy.

A proxy that freezes what is judged is the mesh's own doing, and must not be taken for a machine that stands still.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from conformance.context import Context, Pod
from conformance.pulse import Pulse

__all__ = ["BEATS", "witness"]

BEATS = 20.0
"""Requests a second."""


@contextlib.contextmanager
def witness(ctx: Context, pod: Pod) -> Iterator[Callable[[float], Pulse]]:
    """A pulse from outside of the mesh to a pod's own address while the block runs.

    What is yielded gives it up to a moment, once that is past.
    """
    with ctx.pulse(ctx.outsider(), f"http://{pod.host}:8080/", BEATS) as past:
        yield past
