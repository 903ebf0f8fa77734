"""One request of a load job. Imports nothing, for pods and runner alike."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Sample", "said_no", "served"]

SILENCE = "timeout"
"""Error word of a request that nobody answered in time."""
AWAY = frozenset({"dns", "refused", "unreachable"})
"""Error words of requests that reached nobody who could have served or refused them."""


def served(status: int | None) -> bool:
    """Whether an HTTP status is one of success, or of a redirect."""
    return status is not None and 200 <= status < 400


def said_no(*, reached: bool, served: bool, silent: bool) -> bool:
    """Whether the far side refused. Silence is no refusal: who is too slow to serve may be too slow to refuse."""
    return reached and not served and not silent


@dataclass(frozen=True)
class Sample:
    """What became of one request. Times are epoch seconds of the runner's clock."""

    intended: float
    start: float
    seconds: float
    """Service time: from the send to the last byte."""
    status: int | None
    error: str | None
    """One of `failures.ERRORS`; None when a reply came."""
    pod: str | None
    """The pod that answered, as it says itself."""

    @property
    def end(self) -> float:
        """When the reply was complete, or the request given up."""
        return self.start + self.seconds

    @property
    def latency(self) -> float:
        """Seconds from the intended send to the end."""
        return self.end - self.intended

    @property
    def good(self) -> bool:
        """Whether the workload served it: a proxy's own 403 or 404 is no more an answer than its 503."""
        return self.error is None and served(self.status)

    @property
    def refused(self) -> bool:
        """Whether the far side said no, by an answer or by breaking off."""
        return said_no(reached=self.error not in AWAY, served=self.good, silent=self.error == SILENCE)
