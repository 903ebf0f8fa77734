"""Routing rules, changed and put in order: for one kind of client, with targets that there are, the closest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.routing import Destination, Match, Rule, TextMatch
from refmesh.config.model import Snapshot
from refmesh.config.references import backend_problem

__all__ = ["catch_alls_last", "merged_rules", "reachable", "resolved", "rule_for", "with_targets"]

_EVERY_PATH = {TextMatch("prefix", "/", ignore) for ignore in (False, True)} | {TextMatch("regex", ".*")}


def resolved(snapshot: Snapshot, route: GatewayRoute) -> GatewayRoute:
    """The route with every reference that cannot be followed marked as such."""

    def checked(target: Destination) -> Destination:
        return replace(target, invalid=backend_problem(snapshot, route, target))

    return replace(route, rules=tuple(with_targets(rule, checked) for rule in route.rules))


def with_targets(rule: Rule, change: Callable[[Destination], Destination]) -> Rule:
    """The rule with every destination and mirror changed."""
    return replace(
        rule,
        destinations=tuple(map(change, rule.destinations)),
        mirrors=tuple(replace(item, destination=change(item.destination)) for item in rule.mirrors),
    )


def rule_for(rule: Rule, port: int, namespace: str, labels: Mapping[str, str]) -> Rule | None:
    """The rule with the matches that can hold for requests of such a client to such a port; None if there is none."""
    if not rule.matches:
        return rule
    held = tuple(
        replace(match, port=None, source_labels=(), source_namespace="", gateways=())
        for match in rule.matches
        if match.port in {None, port}
        and match.source_namespace in {"", namespace}
        and all(labels.get(name) == value for name, value in match.source_labels)
    )
    return replace(rule, matches=held) if held else None


def reachable(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules up to the first match that holds for every request: nothing of that object is asked after it."""
    found = list[Rule]()
    for rule in rules:
        place = next((place for place, match in enumerate(rule.matches) if _holds_always(match)), None)
        if place is not None or not rule.matches:
            end = rule if place is None else replace(rule, matches=rule.matches[: place + 1])
            return (*found, end)
        found.append(rule)
    return tuple(found)


def catch_alls_last(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules of several objects for one host, as they come, but whatever holds for every request behind all else."""
    found, last = list[Rule](), list[Rule]()
    for rule in rules:
        asking = tuple(match for match in rule.matches if not _holds_always(match))
        if asking:
            found.append(replace(rule, matches=asking))
        if len(asking) < len(rule.matches) or not rule.matches:
            last.append(replace(rule, matches=tuple(match for match in rule.matches if _holds_always(match))))
    return (*found, *last)


def _holds_always(match: Match) -> bool:
    """Whether a match, of those that hold for such a client and port, asks nothing of the request."""
    path = match.path
    everywhere = path is None or path in _EVERY_PATH
    return everywhere and not (match.method or match.authority or match.scheme or match.headers or match.query)


def merged_rules(routes: Iterable[GatewayRoute]) -> list[Rule]:
    """The rules of several routes of a kind as one list, most specific match first, as Gateway API prescribes.

    Each match becomes a rule of its own, since the order is one of matches. `routes` come oldest first, and sorting is
    stable: among equals the older route, then the earlier rule wins.
    """
    single = [
        replace(rule, matches=(match,))
        for route in routes
        for rule in route.rules
        for match in (rule.matches or (Match(),))
    ]
    return sorted(single, key=lambda rule: _specificity(rule.matches[0]))


def _specificity(match: Match) -> tuple[int, int, int, int, int]:
    kind = match.path.kind if match.path is not None else "segment-prefix"
    length = len(match.path.value) if match.path is not None else 1
    order = {"exact": 0, "segment-prefix": 1, "prefix": 1, "regex": 2}.get(kind, 3)
    # A regular expression has no length that means anything, but it must not lose to the prefix "/".
    if kind == "segment-prefix" and length == 1:
        order = 3
    return (order, -length, 0 if match.method is not None else 1, -len(match.headers), -len(match.query))
