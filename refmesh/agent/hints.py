"""Learns from the control plane that there is something new to trust, and says so to the enrolment.

A hint is one number, held back by the server until it is above the one this agent knows. The question goes through
Envoy, on a socket that only this container has: so it arrives with the pod's certificate, and neither TLS nor the key
is needed here. Where the certificate has expired nobody answers; the enrolment renews it all the same, by the token.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from typing import TYPE_CHECKING

from refmesh.agent import grpc
from refmesh.agent.settings import log
from refmesh.ca import hints, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from refmesh.agent.settings import Settings

__all__ = ["Hints", "ask"]

_WAIT_SECONDS = 75.0
"""Longer than the server holds a question back."""
_PACE_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_MOST_SPREAD = 120.0


class Hints:
    """Asks again and again; the question tells the server what this proxy uses by now.

    `known` gives the generation of the present certificate, None before the first.
    """

    def __init__(self, settings: Settings, known: Callable[[], int | None], renew: Callable[[], None]) -> None:
        self._settings, self._known, self._renew = settings, known, renew

    def start(self) -> None:
        """Go on in a thread of its own."""
        threading.Thread(target=self._run, name="hints", daemon=True).start()

    def _run(self) -> None:
        failures = 0
        while True:
            known = self._known()
            if known is None:
                time.sleep(_PACE_SECONDS)
                continue
            try:
                hint = ask(self._settings, known)
            except (OSError, grpc.CallFailed, wire.Malformed) as error:
                failures += 1
                if failures == 2:  # once may be while Envoy starts
                    log(f"no hints from the control plane: {error}")
                time.sleep(_RETRY_SECONDS * (0.5 + random.random()))
                continue
            failures = 0
            if hint.generation > known:
                # not all at once: the CA signs for everybody in that time
                time.sleep(random.random() * min(hint.spread_milliseconds / 1000, _MOST_SPREAD))
                self._renew()
                self._await_change(known)

    def _await_change(self, known: int) -> None:
        """Give the enrolment a moment; where it fails, it tries again by itself, and a hint a second is enough."""
        deadline = time.monotonic() + _RETRY_SECONDS
        while self._known() == known and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(_PACE_SECONDS / 4)


def ask(settings: Settings, known: int) -> hints.Hint:
    """One question, answered when there is something new, or after about a minute.

    Raises OSError, `grpc.CallFailed` or `wire.Malformed`.
    """
    question = hints.Question(settings.node, known).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WAIT_SECONDS)
        connection.connect(settings.hints_socket)
        return hints.Hint.decode(grpc.unary(connection, settings.control_plane, hints.METHOD, question, scheme="http"))
