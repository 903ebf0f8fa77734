"""Defects in config and in discovery's protocol: what proxies get to hear, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]

_STREAM = "refmesh.discovery.stream"


def _routes_first(sound: Callable[[], Mapping[Any, Any]]) -> Callable[[], Mapping[Any, Any]]:
    """Send routes and listeners at once, and the clusters that they name once those are acknowledged."""
    clusters, endpoints, secrets, listeners, routes = sound()
    order = {routes: (), listeners: (), endpoints: (), secrets: (), clusters: (routes, listeners)}
    return lambda: order


def _always_content(sound: Callable[[Any], str]) -> Callable[[Any], str]:
    """Take a rejection for an acknowledgement."""
    _ = sound
    return lambda _request: ""


def _nonces_forgotten(sound: Callable[..., str | None]) -> Callable[..., str | None]:
    """Recognise no answer, so that every push waits as if the one before had been lost."""
    _ = sound
    return lambda _request, _outstanding: None


def _always_the_first(sound: Callable[[str, bytes], str]) -> Callable[[str, bytes], str]:
    """Give every content of a resource the same version, so that no change is seen."""
    return lambda name, _value: sound(name, b"")


def _bad_object_raises(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Let the mistake in one object end the reading of all of its kind."""

    def parse(kind: Any, obj: Any, domain: str) -> Any:
        found = sound(kind, obj, domain)
        reason = getattr(found, "reason", "")
        if reason:
            raise ValueError(reason)
        return found

    return parse


DEFECTS = (
    Defect(
        "route-before-cluster",
        "Proxies get a route before the cluster that it names.",
        "discovery",
        f"{_STREAM}:delivery",
        _routes_first,
    ),
    Defect(
        "nack-ignored",
        "A proxy's rejection of its configuration is taken for an acknowledgement.",
        "discovery",
        f"{_STREAM}:rejection",
        _always_content,
    ),
    Defect(
        "nonces-confused",
        "No acknowledgement is recognised: every later change waits for seconds.",
        "discovery",
        f"{_STREAM}:answered",
        _nonces_forgotten,
    ),
    Defect(
        "version-unchanged",
        "A changed resource keeps its version and is not sent again.",
        "discovery",
        "refmesh.discovery.resource:version_of",
        _always_the_first,
    ),
    Defect(
        "bad-object-blocks-all",
        "One bad object keeps all of its kind from taking effect.",
        "discovery",
        "refmesh.config.store:parse",
        _bad_object_raises,
    ),
)
