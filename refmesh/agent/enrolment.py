"""How the agent gets and keeps its certificate.

Making a key, a CSR and a TLS call needs 16 MB of libraries, twice a day for a tenth of a second. So a child does it
(`python -m refmesh.agent.enrol`), writes key and chain to a pipe and ends; the agent never loads those libraries, and
the key never touches a file.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refmesh.agent.settings import log

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Enroller", "EnrolmentFailed", "Identity", "read_result", "renewal_delay", "retry_delay", "write_result"]

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----\n"


class EnrolmentFailed(Exception):
    """No certificate this time; the message says why."""


@dataclass(frozen=True)
class Identity:
    """One key with its certificates (PEM); the end of validity as seconds since the epoch."""

    key_pem: bytes
    chain_pem: bytes
    roots_pem: bytes
    not_after: float


def write_result(not_after: float, key_pem: bytes, chain: tuple[str, ...]) -> bytes:
    """Serialise the child's success for the pipe."""
    certificates = "".join(pem if pem.endswith("\n") else f"{pem}\n" for pem in chain)
    return f"{not_after:.0f}\n".encode() + key_pem + b"\n" + certificates.encode()


def read_result(data: bytes, injected_root: str) -> Identity:
    """Parse what the child wrote. Raises `EnrolmentFailed`, with the child's own words if it had any."""
    first, _, rest = data.partition(b"\n")
    if not first.isdigit():
        raise EnrolmentFailed(data.decode(errors="replace").strip() or "the enrolment ended without a word")
    key, begin, tail = rest.partition(_BEGIN)
    chain = [block + _END for block in (begin + tail).split(_END) if block.strip()]
    if len(chain) < 2 or not key.strip():
        raise EnrolmentFailed("the CA's answer has no chain of at least a leaf and a root")
    *below, root = chain
    injected = injected_root.strip().encode() + b"\n"
    # Both while they differ: during a change of root, peers may still have either.
    roots = root if root.strip() == injected.strip() else root + injected
    return Identity(key.strip() + b"\n", b"".join(below), roots, float(first))


def renewal_delay(not_after: float, now: float, jitter: float) -> float:
    """Return the seconds to wait before renewing: half to two thirds of what is left, by a jitter in 0..1."""
    return max(1.0, (not_after - now) * (0.5 + jitter / 6))


def retry_delay(attempt: int, jitter: float) -> float:
    """Return the seconds to wait after the n-th failure in a row (from 0): 0.1 doubling to 15, halved by chance."""
    return float(min(15.0, 0.1 * 2 ** min(attempt, 10)) * (0.5 + jitter / 2))


class Enroller:
    """Keeps an identity current: enrols at once, renews in time, tries again after failures."""

    def __init__(self, injected_root: str, publish: Callable[[Identity], None]) -> None:
        self._injected_root, self._publish = injected_root, publish
        self._first = spawn()

    def start(self) -> None:
        """Go on in a thread of its own."""
        threading.Thread(target=self._run, name="enrol", daemon=True).start()

    def _run(self) -> None:
        failures, pipe = 0, self._first
        while True:
            try:
                identity = read_result(_drain(pipe), self._injected_root)
            except EnrolmentFailed as failure:
                log(f"no certificate yet: {failure}")
                wait = retry_delay(failures, random.random())
                failures += 1
            else:
                self._publish(identity)
                failures = 0
                wait = renewal_delay(identity.not_after, time.time(), random.random())
            time.sleep(wait)
            pipe = spawn()


def spawn() -> int:
    """Start the child and return the reading end of its pipe. The supervisor reaps it."""
    reading, writing = os.pipe()
    try:
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "refmesh.agent.enrol"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE],
        )
    finally:
        os.close(writing)
    return reading


def _drain(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as stream:
        return stream.read(1 << 20)
