"""The tcp and tls routes of a VirtualService, for connections not looked into; and what all its routes share."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import short_host
from refmesh.api.routing import Destination, weighable

__all__ = ["MESH", "StreamMatch", "StreamRule", "gateway_names", "source_labels", "stream_rules", "target"]

MESH = "mesh"
"""The name that stands among Gateways for the sidecars."""
_MOST_SUBNETS = 64
_MOST_NAMES = 4096
"""Of all blocks together: each has filter chains of its own for every name."""


@dataclass(frozen=True)
class StreamMatch:
    """All of it must hold. `server_names` is TLS's SNI, given by `tls` routes only."""

    port: int | None = None
    server_names: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    """Blocks of addresses, one of which the client must have asked for."""
    source_labels: tuple[tuple[str, str], ...] = ()
    source_namespace: str = ""


@dataclass(frozen=True)
class StreamRule:
    """Connections for which any of `matches` holds (no matches: every connection) go to `destinations` by weight."""

    tls: bool
    matches: tuple[StreamMatch, ...]
    destinations: tuple[Destination, ...]

    def conditions(
        self, gateway: str, port: int, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """What is left to ask of connections of such clients to a port: SNIs (none: any) and subnets (none: any).

        Any of them is enough; none at all: the rule does not hold there.
        """
        if not self.matches:
            return (((), ()),)
        found: dict[tuple[str, ...], list[str] | None] = {}
        for match in self.matches:
            if match.port not in {None, port} or (match.gateways and gateway not in match.gateways):
                continue
            if match.subnets and gateway != MESH:
                continue  # whatever clients asked for, the connection came to the gateway's own address
            own = labels or {}
            if match.source_namespace not in {"", namespace} or any(own.get(k) != v for k, v in match.source_labels):
                continue
            names = found.setdefault(match.subnets, [])
            if not match.server_names or names is None:
                found[match.subnets] = None
            else:
                names.extend(match.server_names)
        return tuple((tuple(dict.fromkeys(names or ())), subnets) for subnets, names in found.items())


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
    return tuple(_gateway_name(item, namespace) for item in field.get("gateways").each())


def _gateway_name(item: Field, namespace: str) -> str:
    """As in Istio `name`, `./name` and `namespace/name`, and like a host `name.namespace` with whatever follows."""
    written = item.text()
    if written == MESH:
        return MESH
    if written.count("/") > 1:
        raise Invalid(item.path, "must be the name of a Gateway, or namespace/name")
    if "/" in written:
        space, _, name = written.partition("/")
        return f"{namespace if space == '.' else space}/{name}"
    name, _, rest = written.partition(".")
    return f"{rest.partition('.')[0] or namespace}/{name}"


def source_labels(field: Field) -> tuple[tuple[str, str], ...]:
    """The `sourceLabels` of a match."""
    return tuple(sorted((name, value.text("")) for name, value in field.get("sourceLabels").entries().items()))


def stream_rules(spec: Field, namespace: str, domain: str, gateways: tuple[str, ...]) -> tuple[StreamRule, ...]:
    """The tls routes, then the tcp routes: the more exact come first. `gateways`: those of the whole object."""
    _limit_subnets(spec)
    return tuple(
        _rule(item, namespace, domain, gateways, tls=tls)
        for tls, key in ((True, "tls"), (False, "tcp"))
        for item in spec.get(key).each()
    )


def _limit_subnets(spec: Field) -> None:
    count = names = 0
    for match in (one for key in ("tls", "tcp") for item in spec.get(key).each() for one in item.get("match").each()):
        names += len(match.get("sniHosts").each())
        subnets = match.get("destinationSubnets")
        count += len(subnets.each())
        if count > _MOST_SUBNETS:
            raise Invalid(
                subnets.path,
                f"must not make more than {_MOST_SUBNETS} blocks in the whole VirtualService; use wider ones, "
                "or give some of its hosts a VirtualService of their own",
            )
    if count * names > _MOST_NAMES:
        raise Invalid(
            "spec.tls",
            f"has {names} sniHosts beside {count} destinationSubnets; their product must not be above {_MOST_NAMES}: "
            "give some of the hosts a VirtualService of their own",
        )


def _rule(item: Field, namespace: str, domain: str, gateways: tuple[str, ...], *, tls: bool) -> StreamRule:
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
    for match, found in zip(item.get("match").each(), matches, strict=True):
        if found.subnets and MESH not in (found.gateways or gateways):
            raise Invalid(
                f"{match.path}.destinationSubnets",
                "holds for sidecars only: at a Gateway every connection comes to the Gateway's own address",
            )
    if tls and not matches:
        raise Invalid(f"{item.path}.match", "is required for a tls route, with sniHosts")
    return StreamRule(tls, matches, weighable(tuple(destinations), f"{item.path}.route"))


def _match(item: Field, namespace: str, *, tls: bool) -> StreamMatch:
    item.only(
        "port", "gateways", "destinationSubnets", "sourceLabels", "sourceNamespace", *(["sniHosts"] if tls else [])
    )
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
        subnets=_subnets(item.get("destinationSubnets")),
        source_labels=source_labels(item),
        source_namespace=item.get("sourceNamespace").text(""),
    )


def _subnets(field: Field) -> tuple[str, ...]:
    blocks = {_subnet(item) for item in field.each()}
    # For Envoy a block of all addresses is one chain beside the chain without a block, and either may be chosen.
    return () if any(not block.prefixlen for block in blocks) else tuple(sorted(map(str, blocks)))


def _subnet(item: Field) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(item.text(), strict=False)
    except ValueError as error:
        raise Invalid(item.path, "must be an IPv4 address or a block of them, such as 10.1.0.0/16") from error
