"""ServiceEntry: hosts outside the cluster that the mesh knows by name, so that they can be routed to and limited."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from refmesh.api.fields import Field, Invalid
from refmesh.api.locality import NOWHERE, Locality
from refmesh.api.meta import Meta
from refmesh.api.ports import RESERVED_PORTS

__all__ = ["MOST_ENDPOINTS", "MOST_ENTRIES", "EntryEndpoint", "EntryPort", "ServiceEntry"]

MOST_ENTRIES, MOST_ENDPOINTS = 256, 4096
"""Of hosts, of addresses and of ports, and of endpoints: as in the definition of Istio's own kind."""
_MOST_PLACES = 100_000
"""Every host has a cluster at every port, with all endpoints, and every address a listener there, with all hosts."""

_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_OWN = "is the proxy itself, whose administration listens there"
_OWN_PORTS = (15000, 15020, 15021)
"""Of Envoy's administration and of the agent, at loopback or everywhere."""
_MOST_WEIGHT = 1_000_000
"""Envoy refuses endpoints whose weights sum up to more than 32 bits hold."""
_PROTOCOLS = {
    "HTTP": "http",
    "HTTP2": "http2",
    "GRPC": "http2",
    "GRPC-WEB": "http",
    "HTTPS": "tls",
    "TLS": "tls",
    "TCP": "tcp",
    "MONGO": "tcp",
    "MYSQL": "tcp",
    "REDIS": "tcp",
}


@dataclass(frozen=True)
class EntryPort:
    """A port of the hosts. `target` is where it is at the endpoints."""

    number: int
    name: str
    protocol: Literal["http", "http2", "tls", "tcp"]
    target: int


@dataclass(frozen=True)
class EntryEndpoint:
    """An address (an IP, or a name to be looked up) and its ports by name, where they differ."""

    address: str
    ports: tuple[tuple[str, int], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Subsets are chosen by these."""
    locality: Locality = NOWHERE
    weight: int = 0
    """Beside other endpoints; 0: as much as those that say nothing."""

    def port(self, of: EntryPort) -> int:
        """The number of a port here."""
        return dict(self.ports).get(of.name, of.target)


@dataclass(frozen=True)
class ServiceEntry:
    """Hosts outside the mesh. `addresses` are IPs that clients reach them by; without any, Host header and SNI tell."""

    meta: Meta
    hosts: tuple[str, ...]
    addresses: tuple[str, ...]
    ports: tuple[EntryPort, ...]
    resolution: Literal["NONE", "STATIC", "DNS"]
    endpoints: tuple[EntryEndpoint, ...]

    @classmethod
    def parse(cls, obj: Any, domain: str) -> ServiceEntry:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "ServiceEntry")
        spec = Field(obj, "").get("spec")
        spec.only("hosts", "addresses", "ports", "location", "resolution", "endpoints", "exportTo")
        for scope in spec.get("exportTo").each():
            if scope.text() != "*":
                raise Invalid(scope.path, "is not supported by refmesh unless it is `*`")
        if spec.get("location").choice("MESH_EXTERNAL", "MESH_INTERNAL", default="MESH_EXTERNAL") != "MESH_EXTERNAL":
            raise Invalid("spec.location", "is not supported by refmesh unless it is MESH_EXTERNAL")
        resolution = spec.get("resolution").choice("NONE", "STATIC", "DNS", default="NONE")
        hosts = tuple(_host(item, domain, resolution) for item in spec.get("hosts").each(most=MOST_ENTRIES))
        ports = tuple(_port(item) for item in spec.get("ports").each(most=MOST_ENTRIES))
        named = {port.name for port in ports}
        endpoints = tuple(
            _endpoint(item, named, resolution) for item in spec.get("endpoints").each(most=MOST_ENDPOINTS)
        )
        if not hosts or not ports:
            raise Invalid("spec.hosts" if not hosts else "spec.ports", "is required")
        if resolution == "STATIC" and not endpoints:
            raise Invalid("spec.endpoints", "is required where spec.resolution is STATIC")
        if resolution == "NONE" and endpoints:
            raise Invalid("spec.endpoints", "has no meaning where spec.resolution is NONE")
        if resolution == "DNS":
            _refuse_own_ports(ports, endpoints)
        if len({port.number for port in ports}) < len(ports):
            raise Invalid("spec.ports", "has a number twice")
        addresses = tuple(_address(item) for item in spec.get("addresses").each(most=MOST_ENTRIES))
        places = len(hosts) * len(ports) * (len(addresses) + len(endpoints))
        if places > _MOST_PLACES:
            raise Invalid(
                "spec.hosts",
                f"times spec.ports times spec.addresses and spec.endpoints are {places}; at most {_MOST_PLACES} are "
                "taken: divide the hosts among several ServiceEntries",
            )
        for index, port in enumerate(ports):
            if not addresses and port.number in RESERVED_PORTS:
                raise Invalid(
                    f"spec.ports[{index}].number",
                    f"must not be from {RESERVED_PORTS[0]} to {RESERVED_PORTS[-1]}, where proxies listen themselves; "
                    "use another, with this one as targetPort, or give the hosts spec.addresses",
                )
        return cls(meta, hosts, addresses, ports, resolution, endpoints)  # type: ignore[arg-type]


def _host(item: Field, domain: str, resolution: str) -> str:
    host = item.text().lower()
    if not _HOST.fullmatch(host):
        raise Invalid(item.path, "must be a host name, with at most a * as its first label")
    if host.endswith(f".{domain}"):
        raise Invalid(item.path, "is a name of the cluster itself; Services are known without a ServiceEntry")
    if host.startswith("*") and resolution == "DNS":
        raise Invalid(item.path, "cannot be looked up; use NONE as spec.resolution for a wildcard")
    if _names_itself(host):
        raise Invalid(item.path, _OWN)
    return host


def _names_itself(host: str) -> bool:
    """Whether a name stands for loopback (RFC 6761, section 6.3)."""
    return host == "localhost" or host.endswith(".localhost")


def _refuse_own_ports(ports: Sequence[EntryPort], endpoints: Sequence[EntryEndpoint]) -> None:
    """Who answers for a name may say that it is at loopback, and so at the proxy's own ports."""
    led = dict[str, set[int]]()
    for name, number in (pair for one in endpoints for pair in one.ports):
        led.setdefault(name, set()).add(number)
    for index, port in enumerate(ports):
        if {port.target, *led.get(port.name, ())} & {*_OWN_PORTS}:
            raise Invalid(
                f"spec.ports[{index}]",
                f"must not lead to {', '.join(map(str, _OWN_PORTS))} of a name that is looked up: {_OWN}",
            )


def _port(item: Field) -> EntryPort:
    item.only("number", "name", "protocol", "targetPort")
    number = item.get("number").integer(low=1, high=65535)
    protocol = item.get("protocol").text("TCP").upper()
    if protocol not in _PROTOCOLS:
        raise Invalid(f"{item.path}.protocol", f"must be one of {', '.join(_PROTOCOLS)}, not {protocol!r}")
    target = item.get("targetPort").integer(number, low=1, high=65535)
    return EntryPort(number, item.get("name").text(""), _PROTOCOLS[protocol], target)  # type: ignore[arg-type]


def _endpoint(item: Field, named: Collection[str], resolution: str) -> EntryEndpoint:
    """An endpoint of an entry whose ports are `named` so."""
    item.only("address", "ports", "labels", "locality", "weight")
    address = item.get("address").text()
    if resolution == "STATIC" or address.replace(".", "").isdigit():
        _address(item.get("address"))
    elif not _HOST.fullmatch(address.lower()) or address.startswith("*"):
        raise Invalid(f"{item.path}.address", "must be an IPv4 address or a host name")
    elif _names_itself(address.lower()):
        raise Invalid(f"{item.path}.address", _OWN)
    numbers = []
    for name, value in item.get("ports").entries().items():
        if name not in named:
            raise Invalid(value.path, "is not the name of a port in spec.ports")
        numbers.append((name, value.integer(low=1, high=65535)))
    labels = tuple(sorted((key, value.text("")) for key, value in item.get("labels").entries().items()))
    weight = item.get("weight").integer(0, high=_MOST_WEIGHT)
    return EntryEndpoint(address.lower(), tuple(sorted(numbers)), labels, _locality(item, resolution), weight)


def _locality(item: Field, resolution: str) -> Locality:
    place = item.get("locality")
    if not place.present:
        return NOWHERE
    if resolution == "DNS":
        raise Invalid(place.path, "is not supported by refmesh where spec.resolution is DNS; use STATIC")
    parts = place.text().split("/")
    if len(parts) > 3 or not all(parts):
        raise Invalid(place.path, "must be region/zone/subzone, or the first of these")
    return Locality(*parts)


def _address(item: Field) -> str:
    try:
        address = ipaddress.IPv4Address(item.text())
    except ValueError as error:
        raise Invalid(item.path, "must be an IPv4 address; ranges are not supported by refmesh") from error
    if address.is_unspecified:
        raise Invalid(item.path, "is no address of a host; leave it out where Host header or SNI tell the hosts")
    if address.is_loopback:
        raise Invalid(item.path, _OWN)
    return str(address)
