"""Defects in load balancing: which endpoints get requests, and which of them the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _ready_or_not(sound: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Take every endpoint that a slice names."""
    _ = sound
    return lambda _: True


def _kept(sound: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Keep what a slice named before beside what it names now."""

    def renewed(before: Any, now: Any) -> Any:
        found = sound(before, now)
        if before is None or found is None:
            return found
        present = {endpoint.address for endpoint in found.endpoints}
        left = tuple(endpoint for endpoint in before.endpoints if endpoint.address not in present)
        return type(found)(found.namespace, found.name, found.service, (*found.endpoints, *left), found.ports)

    return renewed


def _by_nothing(sound: Callable[[Any], Any]) -> Callable[..., Any]:
    """Hash by a header that nobody sends: every request falls where chance puts it."""

    def policy(key: Any) -> Any:
        found = sound(key)
        if found.HasField("header"):
            found.header.header_name = "x-refmesh-nobody-sends-this"
        return found

    return policy


def _at_random(sound: Callable[[str | None], Any]) -> Callable[[str | None], Any]:
    """Draw the next endpoint whatever the rule says."""
    return lambda name: sound("RANDOM" if name == "ROUND_ROBIN" else name)


def _all_alike(sound: Callable[..., int]) -> Callable[..., int]:
    """Prefer nobody, however close."""
    _ = sound
    return lambda *_: 0


def _defect(name: str, summary: str, seam: str, make: Callable[..., Any]) -> Defect:
    return Defect(name, summary, "load-balancing", f"refmesh.{seam}", make)


DEFECTS = (
    _defect(
        "not-ready-endpoints-included",
        "Pods that are not ready get their share of the traffic.",
        "discovery.endpoints:usable",
        _ready_or_not,
    ),
    _defect(
        "deleted-endpoint-kept",
        "An endpoint that left its service goes on getting traffic.",
        "config.store:renewed",
        _kept,
    ),
    _defect(
        "hash-key-ignored",
        "Consistent hashing looks at a header that no request has.",
        "discovery.hashing:policy",
        _by_nothing,
    ),
    _defect(
        "locality-ignored",
        "Hosts of other zones get their share while those of the client's own are sound.",
        "discovery.locality:rank",
        _all_alike,
    ),
    _defect(
        "round-robin-drawn",
        "Where hosts are to take turns the next one is drawn at random.",
        "discovery.clusters:lb_policy",
        _at_random,
    ),
)
