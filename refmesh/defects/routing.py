"""Defects in routing: where requests go, and what is done to them on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from refmesh.api.routing import Destination, Rule
from refmesh.config.references import service_of
from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]

_ACTION = "refmesh.discovery.route_action"
_MATCH = "refmesh.discovery.route_match"
_ROUTES = "refmesh.discovery.routes"


def _points_off(points: int) -> Callable[..., Callable[[Sequence[int]], list[int]]]:
    """Move so many percent of the traffic from the largest share to the smallest."""

    def make(sound: Callable[[Sequence[int]], list[int]]) -> Callable[[Sequence[int]], list[int]]:
        def weighted_shares(weights: Sequence[int]) -> list[int]:
            shares = [share * 100 for share in sound(weights)]
            if len(shares) < 2:
                return shares
            largest = shares.index(max(shares))
            smallest = min((index for index in range(len(shares)) if index != largest), key=lambda index: shares[index])
            moved = min(sum(shares) * points // 100, shares[largest])
            shares[largest] -= moved
            shares[smallest] += moved
            return shares

        return weighted_shares

    return make


def _nobody_at_zero(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Serve a destination of weight 0 as if it had a tenth of the whole."""

    def served(destinations: Sequence[Any]) -> list[Any]:
        if not sound(destinations):
            return []
        tenth = max(1, sum(item.weight for item in destinations) // 9)
        return [item if item.weight else replace(item, weight=tenth) for item in destinations]

    return served


def _last_first(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Hold requests against the last rule first."""
    return lambda rules: list(reversed(sound(rules)))


def _any_prefix(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Let a prefix end in the middle of a segment."""
    return lambda path: sound(replace(path, kind="prefix"))


def _in_any_case(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Compare the values of headers without their case."""

    def header_text(match: Any) -> Any:
        found = sound(match)
        if match.kind == "regex":
            found.safe_regex.regex = f"(?i){match.value}"
        else:
            found.ignore_case = True
        return found

    return header_text


def _beginning_is_enough(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take an exact value of a header for a prefix."""
    return lambda match: sound(replace(match, kind="prefix") if match.kind == "exact" else match)


def _so_many_times(factor: int) -> Callable[..., Callable[..., Any]]:
    """Lengthen time limits: by a thousand, as who reads milliseconds as seconds, or as who counts each try anew."""

    def make(sound: Callable[..., Any]) -> Callable[..., Any]:
        def time_limit(rule: Any) -> Any:
            return sound(replace(rule, timeout=rule.timeout * factor) if rule.timeout is not None else rule)

        return time_limit

    return make


def _tries_all_failures(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Send requests that the application answered with an error again unasked, whatever their method."""
    return lambda: replace(sound(), on="5xx,reset,connect-failure,refused-stream")


def _tries_on(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forget the limit on how often a request is sent again."""
    return lambda retry: max(25, sound(retry))


def _fault_next_door(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Apply each rule's fault to the rule after it."""

    def faults(rules: Sequence[Any]) -> list[Any]:
        found = sound(rules)
        return [*found[-1:], *found[:-1]]

    return faults


def _copy_answers(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Give the caller the response of the mirror, and the copy to the one that was meant."""

    def mirrored(rule: Any) -> Any:
        destinations, mirrors = sound(rule)
        if not mirrors or not destinations:
            return destinations, mirrors
        first, *others = mirrors
        copy = replace(first, destination=destinations[0], percent=100.0)
        return (replace(first.destination, weight=1),), (copy, *others)

    return mirrored


def _as_it_came(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forward the request with the path and host that it came with."""
    return lambda rule: replace(sound(rule), rewrite=None)


def _port_of_the_request(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Send clients to a port one off the one in the route."""

    def redirect_port(redirect: Any) -> int:
        port: int = sound(redirect)
        return port + 1 if 0 < port < 65535 else port

    return redirect_port


def _parent_answers(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Send what was meant for a backend that does not exist to the Service that the route is attached to."""

    def cluster_name(destination: Any, host: str, port: int) -> str:
        if destination.invalid:
            destination = replace(destination, host=host, port=port, invalid="")
        name: str = sound(destination, host, port)
        return name

    return cluster_name


def _everybody_is_granted(sound: Callable[..., bool]) -> Callable[..., bool]:
    """Let any namespace's routes use any Service."""
    _ = sound
    return lambda *_arguments: True


def _everybody_is_a_consumer(sound: Callable[..., str]) -> Callable[..., str]:
    """Apply a consumer's route to the clients of every namespace."""
    _ = sound
    return lambda *_arguments: ""


def _one_backend_a_connection(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Balance gRPC by connection, as the bytes that it is below."""

    def protocol_of(*words: Any, **port: int) -> Any:
        found = sound(*words, **port)
        return type(found).TCP if found is type(found).HTTP2 else found

    return protocol_of


def _replaced_not_added(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Put a header that is to be added in the place of what is there."""
    return lambda change: sound(replace(change, set=(*change.set, *change.add), add=()))


def _as_it_is(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take a text for a format string."""
    _ = sound
    return lambda text: text


def _all_is_well(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Say of every route that its backends are known."""
    _ = sound
    return lambda _snapshot, _route: ("ResolvedRefs", True, "ResolvedRefs", "every backend is known")


def _last_resort(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forward what no rule matches, as if there were no route."""

    def virtual_host(name: str, domains: Any, rules: Sequence[Any], host: str, port: int) -> Any:
        return sound(name, domains, (*rules, Rule(destinations=(Destination(host, port),))), host, port)

    return virtual_host


def _as_written(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Hold requests against rules in the order in which they were written."""
    _ = sound
    return lambda _match: ()


def _every_port(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Attach routes to their parents as a whole, whichever port they name."""

    def parse(kind: Any, obj: Any, domain: str) -> Any:
        found = sound(kind, obj, domain)
        if parents := getattr(found, "parents", ()):
            found = replace(found, parents=tuple(replace(one, port=None) for one in parents))
        return found

    return parse


def _no_upgrades(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Know of no protocol that a connection could change to."""

    def manager(*args: Any) -> Any:
        found = sound(*args)
        del found.upgrade_configs[:]
        return found

    return manager


def _neighbours_too(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Apply a Service's routes to those without routes that select the same pods."""

    def rules(self: Any, service: Any, port: Any, namespace: str, labels: Any = None) -> Any:
        found = sound(self, service, port, namespace, labels)
        for other in self.snapshot.services.values() if found is None else ():
            if other.namespace == service.namespace and other.selector == service.selector and other != service:
                found = found or sound(self, other, port, namespace, labels)
        return found

    return rules


def _only_with_endpoints(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Leave backends without endpoints out: the others share what was theirs."""

    def resolved(snapshot: Any, route: Any) -> Any:
        found = sound(snapshot, route)

        def serves(target: Any) -> bool:
            slices = snapshot.slices.get(service_of(target.host), {}).values()
            return bool(target.invalid) or any(one.endpoints for one in slices)

        kept = (replace(rule, destinations=tuple(filter(serves, rule.destinations))) for rule in found.rules)
        return replace(found, rules=tuple(kept))

    return resolved


def _a_share_for_the_parent(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Send a twentieth of a split to the Service that the route is attached to."""

    def weighted(live: Sequence[Any], host: str, port: int) -> Any:
        total = sum(one.weight for one in live)
        parent = Destination(host, port, weight=max(1, total // 19))
        return sound([*live, parent], host, port)

    return weighted


def _no_delays(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forget the delays that rules ask for."""
    return lambda rules: [replace(one, delay=None) if one is not None else None for one in sound(rules)]


DEFECTS = (
    Defect(
        "weights-off-by-5",
        "Traffic shares are five points away from what the route says.",
        "weights",
        f"{_ACTION}:weighted_shares",
        _points_off(5),
    ),
    Defect(
        "weights-off-by-2",
        "Traffic shares are two points away from what the route says.",
        "weights",
        f"{_ACTION}:weighted_shares",
        _points_off(2),
    ),
    Defect(
        "zero-weight-served", "A backend of weight 0 gets traffic.", "weights", f"{_ACTION}:served", _nobody_at_zero
    ),
    Defect("last-match-wins", "Of several matches the last decides.", "routing", f"{_ROUTES}:in_order", _last_first),
    Defect(
        "prefix-splits-segment",
        "The prefix /a matches /ab.",
        "routing",
        f"{_MATCH}:prefix_match",
        _any_prefix,
    ),
    Defect(
        "header-case-ignored",
        "Values of headers match in any case.",
        "routing",
        f"{_MATCH}:header_text",
        _in_any_case,
    ),
    Defect(
        "exact-header-as-prefix",
        "A header's exact value matches longer ones.",
        "routing",
        f"{_MATCH}:header_text",
        _beginning_is_enough,
    ),
    Defect(
        "timeout-times-1000",
        "Time limits of requests are a thousand times too long.",
        "resilience",
        f"{_ACTION}:time_limit",
        _so_many_times(1000),
    ),
    Defect(
        "timeout-times-3",
        "Time limits of requests are three times too long.",
        "resilience",
        f"{_ACTION}:time_limit",
        _so_many_times(3),
    ),
    Defect(
        "posts-retried",
        "Failed requests are sent again unasked, POST among them.",
        "resilience",
        f"{_ACTION}:default_retry",
        _tries_all_failures,
    ),
    Defect(
        "retries-unlimited",
        "A failing request is sent again many more times than the route allows.",
        "resilience",
        f"{_ACTION}:tries",
        _tries_on,
    ),
    Defect(
        "fault-on-wrong-route",
        "An injected fault hits the requests of another rule.",
        "resilience",
        f"{_ROUTES}:faults",
        _fault_next_door,
    ),
    Defect(
        "mirror-response-returned",
        "The caller gets the response of the mirror.",
        "routing",
        f"{_ACTION}:mirrored",
        _copy_answers,
    ),
    Defect(
        "rewrite-dropped",
        "Paths and hosts are forwarded as they came.",
        "routing",
        f"{_ACTION}:rewritten",
        _as_it_came,
    ),
    Defect(
        "redirect-wrong-port",
        "Redirects name another port than the route.",
        "routing",
        "refmesh.discovery.route_paths:redirect_port",
        _port_of_the_request,
    ),
    Defect(
        "unresolved-backend-answered",
        "Requests for a backend that does not exist are answered by the parent Service.",
        "routing",
        f"{_ACTION}:cluster_name",
        _parent_answers,
    ),
    Defect(
        "reference-grant-unchecked",
        "A route may send traffic to another namespace without a ReferenceGrant.",
        "routing",
        "refmesh.config.references:granted",
        _everybody_is_granted,
    ),
    Defect(
        "consumer-route-leaks",
        "A consumer's route changes the requests of other namespaces.",
        "routing",
        "refmesh.discovery.attachments:clients_of",
        _everybody_is_a_consumer,
    ),
    Defect(
        "grpc-per-connection",
        "gRPC calls of one connection all go to one backend.",
        "weights",
        "refmesh.config.objects:protocol_of",
        _one_backend_a_connection,
    ),
    Defect(
        "header-add-overwrites",
        "A header that a route adds replaces what the request has.",
        "routing",
        f"{_ACTION}:header_options",
        _replaced_not_added,
    ),
    Defect(
        "percent-unescaped",
        "Values of headers in the Gateway API's routes are handed to Envoy as they are, where % begins a command.",
        "routing",
        "refmesh.api.gateway_route:literal",
        _as_it_is,
    ),
    Defect(
        "status-always-true",
        "A route's status says that its backends are known, whether or not they are.",
        "routing",
        "refmesh.config.status:_resolved",
        _all_is_well,
    ),
    Defect(
        "no-match-forwarded",
        "A request that no rule of a route matches goes to the Service all the same.",
        "routing",
        f"{_ROUTES}:virtual_host",
        _last_resort,
    ),
    Defect(
        "specificity-ignored",
        "Of several matches of a Gateway API route the first one written wins.",
        "routing",
        "refmesh.discovery.rules:_specificity",
        _as_written,
    ),
    Defect(
        "parent-port-ignored",
        "A route for one port of a Service holds for all of its ports.",
        "routing",
        "refmesh.config.store:parse",
        _every_port,
    ),
    Defect(
        "upgrades-refused",
        "Proxies do not let connections become WebSockets.",
        "routing",
        "refmesh.discovery.filters:_connection_manager",
        _no_upgrades,
    ),
    Defect(
        "route-leaks-to-neighbours",
        "A route also holds for Services without one that select the same pods.",
        "routing",
        "refmesh.discovery.attachments:Attachments.rules",
        _neighbours_too,
    ),
    Defect(
        "empty-backend-left-out",
        "The share of a backend without endpoints goes to the others.",
        "weights",
        "refmesh.discovery.attachments:resolved",
        _only_with_endpoints,
    ),
    Defect(
        "split-leaks-to-parent",
        "A small share of a split goes to the Service that the route is attached to.",
        "weights",
        f"{_ACTION}:_weighted",
        _a_share_for_the_parent,
    ),
    Defect(
        "delay-dropped",
        "Delays that a route asks for are left out.",
        "resilience",
        f"{_ROUTES}:faults",
        _no_delays,
    ),
)
