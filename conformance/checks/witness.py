"""A witness of stalls for checks that judge times: a pulse past the mesh, and one through the client's proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from conformance.context import Context, Pod
from conformance.pulse import Pulse

__all__ = ["BEATS", "witness"]

BEATS = 20.0
"""Requests a second of each pulse."""


@contextlib.contextmanager
def witness(ctx: Context, pod: Pod, service: str) -> Iterator[Callable[[float], Pulse]]:
    """Both pulses while the block runs; what is yielded gives them up to a moment, once it is past.

    One goes from outside of the mesh to a pod's own address. The other goes by the client that is judged and its proxy
    to a service which nothing of what is judged touches.
    """
    with (
        ctx.pulse(ctx.outsider(), f"http://{pod.ip}:8080/", BEATS) as past,
        ctx.pulse(ctx.client(), ctx.url(service), BEATS) as through,
    ):
        yield lambda until: past(until).beside(through(until))
