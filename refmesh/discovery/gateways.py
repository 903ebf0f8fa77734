"""From a Gateway with its attached routes to ports, chains and sites.

A request belongs to the listener with the most specific host name that covers its host, and to no other: listeners are
isolated from each other (GatewaySpec.listeners). Within one, routes with a more specific host name come first.
"""

from __future__ import annotations

from dataclasses import replace

from refmesh.api.hostnames import covers, specificity
from refmesh.api.routing import Rule
from refmesh.config.ingress import Door, OpenGateway
from refmesh.config.model import Snapshot
from refmesh.discovery.doors import Chain, GatewayPort, Site, secret_name
from refmesh.discovery.outbound import shares
from refmesh.discovery.rules import merged_rules, resolved

__all__ = ["ports_of"]

_DEFAULT_PORTS = {80: "HTTP", 443: "HTTPS"}


def ports_of(snapshot: Snapshot, opened: OpenGateway) -> tuple[GatewayPort, ...]:
    """The ports that can be opened."""
    by_port: dict[int, list[Door]] = {}
    for door in opened.doors:
        if door.opens:
            by_port.setdefault(door.listener.port, []).append(door)
    return tuple(GatewayPort(number, _chains(snapshot, number, doors)) for number, doors in sorted(by_port.items()))


def _chains(snapshot: Snapshot, number: int, doors: list[Door]) -> tuple[Chain, ...]:
    protocol = doors[0].listener.protocol
    if protocol == "TCP":
        return (Chain(f"tcp.{number}", (), shares=_shares(snapshot, doors[0], "")),)
    if protocol == "TLS":
        return tuple(_passed(snapshot, number, door, name) for door in doors for name in _names(door, doors))
    if protocol == "HTTP":
        sites = tuple(site for door in doors for site in _sites(snapshot, door, doors))
        return (Chain(f"http.{number}", sites),)
    return tuple(
        Chain(
            name=f"https.{number}.{door.listener.name}",
            sites=_with_misdirected(_sites(snapshot, door, doors), doors),
            server_names=(door.listener.hostname,) if door.listener.hostname else (),
            secrets=tuple(secret_name(key) for key in door.certificates),
        )
        for door in doors
    )


def _sites(snapshot: Snapshot, door: Door, beside: list[Door]) -> tuple[Site, ...]:
    """A site for every host name that the listener and its routes speak of, as far as it is the listener's."""
    return tuple(Site(name or "*", tuple(_rules(snapshot, door, name))) for name in _names(door, beside))


def _names(door: Door, beside: list[Door]) -> list[str]:
    """The host names that the listener and its routes speak of, as far as they are the listener's."""
    spoken = {door.listener.hostname, *(name for item in door.routes for name in item.hostnames)}
    return [name for name in sorted(spoken, key=lambda name: (specificity(name), name)) if _owner(name, beside) is door]


def _passed(snapshot: Snapshot, number: int, door: Door, name: str) -> Chain:
    """The chain for an SNI. A name of the listener's without a route is closed, or a wider one would take it."""
    asked = (name,) if name else ()
    return Chain(f"tls.{number}.{name or '*'}", (), asked, shares=_shares(snapshot, door, name), passed=True)


def _shares(snapshot: Snapshot, door: Door, name: str) -> tuple[tuple[str, int], ...]:
    """Where the connections for a name go: by the oldest route that has it. A backend that is none keeps its share."""
    route = next((item.route for item in door.routes if name in item.hostnames), None)
    rules = resolved(snapshot, route).rules if route is not None else ()
    return shares((item for rule in rules for item in rule.destinations), door.listener.port)


def _with_misdirected(sites: tuple[Site, ...], doors: list[Door]) -> tuple[Site, ...]:
    """The sites of a listener over TLS, and those for hosts of others.

    A client may ask for such a host on a connection that it made for another name, where it saw another certificate.
    """
    own = {site.domain for site in sites}
    others = dict.fromkeys(door.listener.hostname or "*" for door in doors)
    return (*sites, *(Site(domain, (), misdirected=True) for domain in others if domain not in own))


def _owner(name: str, doors: list[Door]) -> Door:
    covering = [door for door in doors if covers(door.listener.hostname, name)]
    return min(covering, key=lambda door: specificity(door.listener.hostname))


def _rules(snapshot: Snapshot, door: Door, name: str) -> list[Rule]:
    """The rules for requests to a host: those of routes that name it most exactly come first."""
    found: list[Rule] = []
    seen: set[int] = set()
    for level in sorted({one for item in door.routes for one in item.hostnames if covers(one, name)}, key=specificity):
        routes = [item.route for item in door.routes if level in item.hostnames and id(item.route) not in seen]
        seen.update(id(route) for route in routes)
        # That a route is attached to a Service as well gives it no right to that Service here.
        found.extend(merged_rules(resolved(snapshot, replace(route, parents=())) for route in routes))
    return [_at_port(rule, door) for rule in found]


def _at_port(rule: Rule, door: Door) -> Rule:
    """A redirect that names neither port nor scheme leads to the listener's own port (HTTPRequestRedirectFilter)."""
    redirect, listener = rule.redirect, door.listener
    if redirect is None or redirect.port or redirect.scheme or _DEFAULT_PORTS.get(listener.port) == listener.protocol:
        return rule
    return replace(rule, redirect=replace(redirect, port=listener.port))
