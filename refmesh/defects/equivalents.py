"""Variants that behave as the sound mesh does, and look different: a check that fails on one judges the wrong thing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from refmesh.defects.defect import Defect

__all__ = ["EQUIVALENTS"]

Addresses = tuple[tuple[str, int, bool], ...]


def _renamed(sound: Callable[[str, int], str]) -> Callable[[str, int], str]:
    """Names of route configurations are nobody's business."""

    def route_name(host: str, port: int) -> str:
        return f"variant|{sound(host, port)}"

    return route_name


def _backwards(sound: Callable[[list[Any], str, int], Any]) -> Callable[[list[Any], str, int], Any]:
    """The order of weighted clusters has no meaning."""

    def _weighted(live: list[Any], host: str, port: int) -> Any:
        return sound(live[::-1], host, port)

    return _weighted


def _endpoints_backwards(sound: Callable[[str, Addresses], Any]) -> Callable[[str, Addresses], Any]:
    """Nor has the order of endpoints."""

    def assignment(name: str, addresses: Addresses) -> Any:
        return sound(name, addresses[::-1])

    return assignment


def _tenfold(sound: Callable[[Sequence[int]], list[int]]) -> Callable[[Sequence[int]], list[int]]:
    """Only the ratio of weights counts."""

    def weighted_shares(weights: Sequence[int]) -> list[int]:
        return [10 * share for share in sound(weights)]

    return weighted_shares


def _exact_by_regex(sound: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A regular expression without special characters, matched whole, is an exact match."""

    def string_matcher(match: Any) -> Any:
        if match.kind != "exact" or match.ignore_case:
            return sound(match)
        return StringMatcher(safe_regex=RegexMatcher(regex=re.escape(match.value)))

    return string_matcher


def _two_workers(sound: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A proxy with two worker threads; a user's own number stays."""

    def proxy_container(config: Any, annotations: Mapping[str, str], *rest: Any) -> dict[str, Any]:
        return sound(config, {"proxy.refmesh.io/concurrency": "2", **annotations}, *rest)

    return proxy_container


EQUIVALENTS = (
    Defect(
        "variant-routes-renamed",
        "Route configurations have other names.",
        "equivalent",
        "refmesh.discovery.names:route_name",
        _renamed,
    ),
    Defect(
        "variant-clusters-backwards",
        "The clusters of a split come in another order.",
        "equivalent",
        "refmesh.discovery.route_action:_weighted",
        _backwards,
    ),
    Defect(
        "variant-endpoints-backwards",
        "The endpoints of a cluster come in another order.",
        "equivalent",
        "refmesh.discovery.endpoints:assignment",
        _endpoints_backwards,
    ),
    Defect(
        "variant-weights-tenfold",
        "Weights are ten times as large, in the same ratio.",
        "equivalent",
        "refmesh.discovery.route_action:weighted_shares",
        _tenfold,
    ),
    Defect(
        "variant-exact-by-regex",
        "Exact matches are written as regular expressions.",
        "equivalent",
        "refmesh.discovery.route_match:string_matcher",
        _exact_by_regex,
    ),
    Defect(
        "variant-two-workers",
        "Proxies run two worker threads instead of one.",
        "equivalent",
        "refmesh.injector.patch:proxy_container",
        _two_workers,
    ),
)
