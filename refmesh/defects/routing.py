"""Defects in routing: where requests go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _five_points_off(sound: Callable[[Sequence[int]], list[int]]) -> Callable[[Sequence[int]], list[int]]:
    """Move five percent of the traffic from the largest share to the smallest."""

    def weighted_shares(weights: Sequence[int]) -> list[int]:
        shares = [share * 100 for share in sound(weights)]
        if len(shares) < 2:
            return shares
        moved = sum(shares) * 5 // 100
        largest = shares.index(max(shares))
        smallest = min((index for index in range(len(shares)) if index != largest), key=lambda index: shares[index])
        moved = min(moved, shares[largest])
        shares[largest] -= moved
        shares[smallest] += moved
        return shares

    return weighted_shares


DEFECTS = (
    Defect(
        "weights-off-by-5",
        "Traffic shares are five points away from what the route says.",
        "weights",
        "refmesh.discovery.routes:weighted_shares",
        _five_points_off,
    ),
)
