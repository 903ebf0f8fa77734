"""The unsound functions. Each takes the sound one and gives a replacement that is wrong in exactly one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

__all__ = [
    "ejected_for_hours",
    "five_points_off",
    "identity_as_asked",
    "never_strict",
    "no_limits",
    "nothing_opts_out",
]


def five_points_off(sound: Callable[[Sequence[int]], list[int]]) -> Callable[[Sequence[int]], list[int]]:
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


def never_strict(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Where STRICT is in force, say PERMISSIVE."""

    def mode_in_force(*args: Any, **kwargs: Any) -> Any:
        mode = sound(*args, **kwargs)
        return type(mode).PERMISSIVE if mode is type(mode).STRICT else mode

    return mode_in_force


def nothing_opts_out(sound: Callable[[], tuple[str, ...]]) -> Callable[[], tuple[str, ...]]:
    """Know no value that opts out."""
    _ = sound
    return lambda: ()


def ejected_for_hours(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Eject as told, but for a day."""

    def outlier_detection(outlier: Any) -> Any:
        found = sound(outlier)
        found.base_ejection_time.seconds, found.base_ejection_time.nanos = 86_400, 0
        found.max_ejection_time.seconds = 86_400
        return found

    return outlier_detection


def no_limits(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forget the limits on connections, requests and pending requests."""

    def circuit_breakers(pool: Any) -> Any:
        return sound(replace(pool, max_connections=None, max_pending_requests=None, max_requests=None))

    return circuit_breakers


def identity_as_asked(sound: Callable[[str, Any], str]) -> Callable[[str, Any], str]:
    """Take the identity from the request instead of the token."""

    def subject_uri(token_identity: str, csr: Any) -> str:
        from cryptography import x509

        try:
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return sound(token_identity, csr)
        asked: list[str] = names.get_values_for_type(x509.UniformResourceIdentifier)
        return asked[0] if asked else sound(token_identity, csr)

    return subject_uri
