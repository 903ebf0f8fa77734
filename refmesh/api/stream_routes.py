"""The tcp and tls routes of a VirtualService, for connections not looked into; and what all its routes share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import short_host
from refmesh.api.routing import Destination

__all__ = ["MESH", "StreamMatch", "StreamRule", "gateway_names", "source_labels", "stream_rules", "target"]

MESH = "mesh"
"""The name that stands among Gateways for the sidecars."""


@dataclass(frozen=True)
class StreamMatch:
    """All of it must hold. `server_names` is TLS's SNI, given by `tls` routes only."""

    port: int | None = None
    server_names: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamRule:
    """Connections for which any of `matches` holds (no matches: every connection) go to `destinations` by weight."""

    tls: bool
    matches: tuple[StreamMatch, ...]
    destinations: tuple[Destination, ...]

    def server_names(self, gateway: str, port: int) -> tuple[str, ...] | None:
        """The SNIs for which the rule holds at a port, () for every connection; None where it does not hold."""
        held = [
            match
            for match in self.matches
            if match.port in {None, port} and (not match.gateways or gateway in match.gateways)
        ]
        if not held:
            return None if self.matches else ()
        if any(not match.server_names for match in held):
            return ()
        return tuple(dict.fromkeys(name for match in held for name in match.server_names))


def target(field: Field, namespace: str, domain: str) -> Destination:
    """A destination: host, subset, port."""
    field.only("host", "subset", "port")
    port = field.get("port").only("number").get("number")
    return Destination(
        host=short_host(field.get("host").text(), namespace, domain),
        port=port.integer(low=1, high=65535) if port.present else None,
        subset=field.get("subset").text(""),
    )


def gateway_names(field: Field, namespace: str) -> tuple[str, ...]:
    """The `gateways` of an object or match as namespace/name, and `mesh`; empty where there are none."""
    found = []
    for item in field.get("gateways").each():
        name = item.text()
        if name.count("/") > 1:
            raise Invalid(item.path, "must be the name of a Gateway, or namespace/name")
        found.append(name if name == MESH or "/" in name else f"{namespace}/{name}")
    return tuple(found)


def source_labels(field: Field) -> tuple[tuple[str, str], ...]:
    """The `sourceLabels` of a match."""
    return tuple(sorted((name, value.text("")) for name, value in field.get("sourceLabels").entries().items()))


def stream_rules(spec: Field, namespace: str, domain: str) -> tuple[StreamRule, ...]:
    """The tls routes, then the tcp routes: the more exact come first."""
    return tuple(
        _rule(item, namespace, domain, tls=tls)
        for tls, key in ((True, "tls"), (False, "tcp"))
        for item in spec.get(key).each()
    )


def _rule(item: Field, namespace: str, domain: str, *, tls: bool) -> StreamRule:
    item.only("match", "route")
    destinations = []
    for route in item.get("route").each():
        route.only("destination", "weight")
        weight = route.get("weight").integer(0, high=1_000_000)
        destinations.append(replace(target(route.get("destination"), namespace, domain), weight=weight))
    if not destinations:
        raise Invalid(f"{item.path}.route", "is required")
    if len(destinations) == 1:
        destinations = [replace(destinations[0], weight=1)]
    if not any(destination.weight for destination in destinations):
        raise Invalid(f"{item.path}.route", "has no destination with a weight above 0")
    matches = tuple(_match(match, namespace, tls=tls) for match in item.get("match").each())
    if tls and not matches:
        raise Invalid(f"{item.path}.match", "is required for a tls route, with sniHosts")
    return StreamRule(tls, matches, tuple(destinations))


def _match(item: Field, namespace: str, *, tls: bool) -> StreamMatch:
    item.only("port", "gateways", *(["sniHosts"] if tls else []))
    names = tuple(name.text().lower() for name in item.get("sniHosts").each())
    if tls and not names:
        raise Invalid(f"{item.path}.sniHosts", "is required")
    for name in item.get("sniHosts").each():
        if name.text() != "*" and "*" in name.text().removeprefix("*."):
            raise Invalid(name.path, "may have a * as its first label only")
    port = item.get("port")
    return StreamMatch(
        port=port.integer(low=1, high=65535) if port.present else None,
        # Envoy writes the wildcard of one name or more as *.example.com, and every name as no condition.
        server_names=tuple(name for name in names if name != "*") if "*" not in names else (),
        gateways=gateway_names(item, namespace),
    )
