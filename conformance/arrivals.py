"""When requests came to a server, as it tells itself: a witness that does not depend on what its clients saw."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BLUR", "Arrivals"]

BLUR = 0.5
"""What a server tells of its requests proves nothing where telling it took longer than this, seconds."""


@dataclass(frozen=True)
class Arrivals:
    """Ages of requests by the server's own clock, at a moment between asking and being told (epoch seconds)."""

    asked: float
    told: float
    reach: float
    """Seconds back to which it knows of every request."""
    ages: tuple[float, ...]
    """Seconds."""

    @property
    def blur(self) -> float:
        """Seconds by which a moment that it tells of can be off."""
        return self.told - self.asked

    def between(self, begin: float, end: float) -> int | None:
        """How many came for sure between two moments; None if it cannot tell."""
        if self.blur > BLUR or self.told - self.reach > begin or self.asked < end:
            return None
        return sum(begin <= self.asked - age and self.told - age <= end for age in self.ages)
