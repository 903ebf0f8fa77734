"""What was signed lately, by pod: a rotation goes on only when every workload has followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Entry", "Ledger", "laggards"]

MOST = 100_000
"""Entries kept. Callers choose the names of their pods, but each must exist: its token says so."""

SETTLE_SECONDS = 10.0
"""From the signing of a certificate to its use by the proxy takes a tenth of a second; this is for a very busy node."""


@dataclass(frozen=True)
class Entry:
    """The newest certificate of one pod."""

    identity: str
    issuer: str
    """Mark of the issuing certificate."""
    generation: int
    """Generation of the trust that it was signed under, and whose roots went with it."""
    not_after: float
    """Epoch seconds."""
    signed: float = 0.0
    """Epoch seconds."""


class Ledger:
    """The newest certificate of each pod that asked this replica, and which generations are in use."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._in_use: dict[str, int] = {}

    def note(self, pod: str, entry: Entry) -> None:
        """Remember a signature for `namespace/pod`."""
        self._entries.pop(pod, None)
        self._entries[pod] = entry
        while len(self._entries) > MOST:
            self._entries.pop(next(iter(self._entries)))

    def confirm(self, pod: str, generation: int) -> None:
        """A pod says that its proxy has the certificate and the roots of this generation.

        Its word alone counts for nothing: only what was signed for it can be in use.
        """
        if pod in self._in_use or len(self._in_use) < MOST:
            self._in_use[pod] = max(generation, self._in_use.get(pod, 0))

    def in_use(self) -> dict[str, int]:
        """The generation in use by pod, as far as this replica was told."""
        return dict(self._in_use)

    def rows(self) -> dict[str, dict[str, Any]]:
        """All entries as JSON-able data."""
        return {pod: asdict(entry) for pod, entry in self._entries.items()}

    @staticmethod
    def merged(pages: Iterable[Mapping[str, Any]]) -> dict[str, Entry]:
        """The newest entry of each pod among the pages of several replicas. Raises `TypeError` for what is none."""
        found: dict[str, Entry] = {}
        for page in pages:
            for pod, row in page.items():
                entry = Entry(**row)
                known = found.get(pod)
                if known is None or (entry.generation, entry.not_after) > (known.generation, known.not_after):
                    found[pod] = entry
        return found


def laggards(
    pods: Iterable[str], entries: Mapping[str, Entry], in_use: Mapping[str, int], generation: int, now: float
) -> list[str]:
    """The pods (`namespace/name`) that were signed nothing of this generation yet, or do not use it yet.

    A pod that cannot say what it uses is given `SETTLE_SECONDS` from the signing.
    """

    def followed(pod: str) -> bool:
        entry = entries.get(pod)
        if entry is None or entry.generation < generation:
            return False
        return in_use.get(pod, 0) >= generation or now > entry.signed + SETTLE_SECONDS

    return sorted(pod for pod in pods if not followed(pod))
