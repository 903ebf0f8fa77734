"""Learns from the control plane that there is something new to trust, and says so to the enrolment.

A hint is one number over plain HTTP, held back by the server until it is above the one this agent knows. It is not
trusted with anything: all it can cause is an enrolment, which is authenticated, and paced here. The server knows who
asks by the address that the question comes from.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from typing import TYPE_CHECKING

from refmesh.agent.settings import log

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hints", "parse"]

HINT_PORT = 15014
_WAIT_SECONDS = 75.0
"""Longer than the server holds a question back."""
_PACE_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_MOST_BYTES = 4096
_MOST_SPREAD = 120.0


def parse(reply: bytes) -> tuple[int, float]:
    """Generation and spread (seconds) of an HTTP answer. Raises ValueError."""
    head, end, body = reply.partition(b"\r\n\r\n")
    if not end or b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        raise ValueError("the control plane gave no hint")
    generation, spread = body.split()
    return int(generation), max(0.0, min(float(spread), _MOST_SPREAD))


class Hints:
    """Asks again and again; the question tells the server what this proxy uses by now.

    `known` gives the generation of the present certificate, None before the first.
    """

    def __init__(self, host: str, known: Callable[[], int | None], renew: Callable[[], None]) -> None:
        self._host, self._known, self._renew = host, known, renew

    def start(self) -> None:
        """Go on in a thread of its own."""
        threading.Thread(target=self._run, name="hints", daemon=True).start()

    def _run(self) -> None:
        failing = False
        while True:
            known = self._known()
            if known is None:
                time.sleep(_PACE_SECONDS)
                continue
            try:
                generation, spread = ask(self._host, known)
            except (OSError, ValueError) as error:
                if not failing:
                    log(f"no hints from the control plane: {error}")
                failing = True
                time.sleep(_RETRY_SECONDS * (0.5 + random.random()))
                continue
            failing = False
            if generation > known:
                # not all at once: the CA signs for everybody in that time
                time.sleep(random.random() * spread)
                self._renew()
                self._await_change(known)

    def _await_change(self, known: int) -> None:
        """Give the enrolment a moment; where it fails, it tries again by itself, and a hint a second is enough."""
        deadline = time.monotonic() + _RETRY_SECONDS
        while self._known() == known and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(_PACE_SECONDS / 4)


def ask(host: str, known: int, port: int = HINT_PORT) -> tuple[int, float]:
    """One question, answered when there is something new, or after about a minute. Raises OSError or ValueError."""
    request = f"GET /ca/generation?known={known} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
    reply = b""
    with socket.create_connection((host, port), timeout=_WAIT_SECONDS) as connection:
        connection.sendall(request)
        while len(reply) < _MOST_BYTES and (piece := connection.recv(_MOST_BYTES)):
            reply += piece
    return parse(reply)
