"""Routing rules, changed and put in order: for one kind of client, with targets that there are, the closest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.routing import Destination, Match, Rule
from refmesh.config.model import Snapshot
from refmesh.config.references import backend_problem

__all__ = ["merged_rules", "resolved", "rule_for", "with_targets"]


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
