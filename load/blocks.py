"""One arm of one pair: what a block recorded, and whether it counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from load.histograms import decode

__all__ = ["AGAIN", "BASE", "MESHED", "QUANTILES", "Block"]

BASE = "no-sidecar"
MESHED = "sidecar-mtls"
AGAIN = "no-sidecar-again"
"""The A/A arm: the same pods as BASE, measured as if they were another treatment."""

QUANTILES = (50.0, 90.0, 99.0)


@dataclass(frozen=True)
class Block:
    """One arm of one pair. Histograms are encoded, in µs."""

    pair: int
    arm: str
    requests: int
    """How many were counted."""
    sent: int
    """The same with the warm-up."""
    errors: int
    latency: str
    service: str
    lag: str
    """How late requests were sent; also because every connection was waiting for a slow answer."""
    clock: str
    """How late the driver's own clock was, whatever the far side did."""
    broken: str = ""
    """Why the block did not come to its end; "" where it did."""
    unknown: str = ""
    """Why nobody knows what became of the block, which says nothing of its arm; "" where somebody does."""

    def quantiles(self) -> dict[float, float]:
        """Latency from the intended send in µs at each of QUANTILES."""
        values = decode(self.latency)
        return {q: float(values.get_value_at_percentile(q)) for q in QUANTILES}

    def problem(self, lag_budget_us: float) -> str:
        """Why the block does not count; empty when it does.

        Never because answers were slow: a mesh whose slow blocks are left out would look fast.
        """
        if self.broken or self.unknown:
            return self.broken or self.unknown
        if self.requests == 0:
            return "no request was recorded"
        if self.errors:
            return f"{self.errors} of {self.requests} requests failed"
        if late := self.late(lag_budget_us):
            return f"the driver was late: p90 of its clock was {late:.0f} µs, the budget is {lag_budget_us:.0f} µs"
        return ""

    def late(self, lag_budget_us: float) -> float:
        """By how many µs the driver's own clock was late, p90, where that is over the budget; 0 where it is not."""
        late = float(decode(self.clock).get_value_at_percentile(90)) if self.clock else 0.0
        return late if late > lag_budget_us else 0.0

    def lost(self, lag_budget_us: float) -> bool:
        """Whether requests of the block failed while the machine had time for them."""
        return bool(self.broken or self.errors) and not self.late(lag_budget_us)
