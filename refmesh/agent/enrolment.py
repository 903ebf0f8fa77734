"""How the agent gets and keeps its certificate.

Making a key, a CSR and a TLS call needs 16 MB of libraries, twice a day for a tenth of a second. So a child does it
(`python -m refmesh.agent.enrol`), writes key and chain to a pipe and ends; the agent never loads those libraries, and
the key never touches a file.
"""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refmesh.agent.settings import log
from refmesh.agent.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Enroller", "EnrolmentFailed", "Identity", "read_result", "renewal_delay", "retry_delay", "write_result"]

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----\n"
_LOOK_SECONDS = 30.0
"""How often the clock is looked at while there is nothing to do."""


class EnrolmentFailed(Exception):
    """No certificate this time; the message says why."""


@dataclass(frozen=True)
class Identity:
    """One key with its certificates (PEM); the end of validity as seconds since the epoch."""

    key_pem: bytes
    chain_pem: bytes
    roots_pem: bytes
    not_after: float
    generation: int = 0
    """Of the mesh's trust when this was signed; the roots are those of that moment."""


def write_result(not_after: float, key_pem: bytes, chain: tuple[str, ...], generation: int = 0) -> bytes:
    """Serialise the child's success for the pipe: the last element of the chain holds the roots, one or several."""
    *below, roots = (pem if pem.endswith("\n") else f"{pem}\n" for pem in chain)
    first = f"{not_after:.0f} {generation} {len(below)}\n"
    return first.encode() + key_pem + b"\n" + "".join((*below, roots)).encode()


def read_result(data: bytes) -> Identity:
    """Parse what the child wrote. Raises `EnrolmentFailed`, with the child's own words if it had any."""
    first, _, rest = data.partition(b"\n")
    numbers = first.split(b" ")
    if len(numbers) != 3 or not all(number.isdigit() and len(number) < 20 for number in numbers):
        raise EnrolmentFailed(data.decode(errors="replace").strip() or "the enrolment ended without a word")
    not_after, generation, count = map(int, numbers)
    key, begin, tail = rest.partition(_BEGIN)
    chain = [block + _END for block in (begin + tail).split(_END) if block.strip()]
    if not 0 < count < len(chain) or not key.strip():
        raise EnrolmentFailed("the CA's answer has no chain of at least a leaf and a root")
    below, roots = chain[:count], chain[count:]
    return Identity(key.strip() + b"\n", b"".join(below), b"".join(roots), float(not_after), generation)


def renewal_delay(not_after: float, now: float, jitter: float) -> float:
    """Return the seconds to wait before renewing: half to two thirds of what is left, by a jitter in 0..1."""
    return max(1.0, (not_after - now) * (0.5 + jitter / 6))


def retry_delay(attempt: int, jitter: float) -> float:
    """Return the seconds to wait after the n-th failure in a row (from 0): 0.1 doubling to 8, halved by chance."""
    return float(min(8.0, 0.1 * 2 ** min(attempt, 10)) * (0.5 + jitter / 2))


class Enroller:
    """Keeps an identity current: enrols at once, renews in time or when told to, tries again after failures."""

    def __init__(self, publish: Callable[[Identity], None], roots_path: str, first: int) -> None:
        """`first` is the pipe of a child that was started already."""
        self._publish, self._roots_path, self._first = publish, roots_path, first
        self._now = threading.Event()
        self.generation: int | None = None
        """Of the newest certificate; None before the first."""

    def start(self) -> None:
        """Go on in a thread of its own."""
        threading.Thread(target=self._run, name="enrol", daemon=True).start()

    def renew(self) -> None:
        """Renew at once, however long the certificate would last."""
        self._now.set()

    def _run(self) -> None:
        failures, first = 0, True
        while True:
            try:
                # A child that cannot be started (no memory, too many processes) is one more failure to try again after.
                pipe = self._first if first else spawn()
                first = False
                identity = read_result(_drain(pipe))
                keep_roots(self._roots_path, identity.roots_pem)
            except (EnrolmentFailed, OSError) as failure:
                log(f"no certificate yet: {failure}")
                moment = time.time() + retry_delay(failures, random.random())
                failures += 1
            else:
                self._publish(identity)
                self.generation = identity.generation
                failures = 0
                now = time.time()
                moment = now + renewal_delay(identity.not_after, now, random.random())
            self._wait(moment)

    def _wait(self, moment: float) -> None:
        """Wait until then by the clock that certificates go by, or until told to renew.

        A wait alone would not see the hours for which the machine was suspended; a clock set back would make it longer.
        """
        left = moment - time.time()
        end = time.monotonic() + left
        while left > 0 and not self._now.wait(min(left, _LOOK_SECONDS)):
            left = min(moment - time.time(), end - time.monotonic())
        self._now.clear()


def keep_roots(path: str, roots: bytes) -> None:
    """Keep the roots for the next enrolment, also of a container that is started anew: the injected ones grow old."""
    if not path:
        return
    fresh = f"{path}.new"
    with open(fresh, "wb") as file:  # noqa: PTH123  (pathlib costs the agent 5 ms of start)
        file.write(roots)
    os.replace(fresh, path)  # noqa: PTH105


def _drain(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as stream:
        return stream.read(1 << 20)
