"""Istio's Gateway: what a door that is there already opens, and for which hosts. VirtualServices say what is behind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta

__all__ = ["HOST", "MOST_SERVERS", "IstioGateway", "Server", "ServerHost"]

MOST_SERVERS = 512

HOST = re.compile(r"(\*|(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)")
_PLAIN = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
_SECURE = ("HTTPS", "TLS")


@dataclass(frozen=True)
class ServerHost:
    """A host name ("": all; its first label may be `*`), and whose VirtualServices may speak for it ("": anybody's)."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Server:
    """A port. With a `credential` (a Secret's name) it speaks HTTPS; `mutual`: to clients with a certificate only.

    As a `stream` ("tls", by SNI, or "tcp") it passes connections on as they come.
    """

    port: int
    hosts: tuple[ServerHost, ...]
    credential: str = ""
    redirect: bool = False
    """Requests are sent to https."""
    mutual: bool = False
    stream: str = ""


@dataclass(frozen=True)
class IstioGateway:
    """Servers at the gateway workloads that have the labels of `selector`."""

    meta: Meta
    selector: tuple[tuple[str, str], ...]
    servers: tuple[Server, ...]

    @property
    def name(self) -> str:
        """How VirtualServices call it: namespace/name."""
        return f"{self.meta.namespace}/{self.meta.name}"

    @classmethod
    def parse(cls, obj: Any, domain: str) -> IstioGateway:
        """Read the object. Raises `Invalid`."""
        _ = domain
        meta = Meta.read(obj, "Gateway")
        spec = Field(obj, "").get("spec").only("selector", "servers")
        selector = tuple(sorted((key, value.text("")) for key, value in spec.get("selector").entries().items()))
        if not selector:
            raise Invalid("spec.selector", "is required: labels of a gateway workload, such as istio: ingressgateway")
        servers = tuple(_server(item, meta) for item in spec.get("servers").each(most=MOST_SERVERS))
        if not servers:
            raise Invalid("spec.servers", "needs at least one entry")
        return cls(meta, selector, servers)


def _server(item: Field, meta: Meta) -> Server:
    item.only("port", "hosts", "tls", "name")
    port = item.get("port").only("number", "protocol", "name", "targetPort")
    protocol = port.get("protocol").text().upper()
    if protocol not in {*_PLAIN, *_SECURE, "TCP"}:
        known = ", ".join((*_PLAIN, *_SECURE, "TCP"))
        raise Invalid(f"{port.path}.protocol", f"must be one of {known}, not {protocol}")
    hosts = tuple(_host(host, meta) for host in item.get("hosts").each())
    if not hosts:
        raise Invalid(f"{item.path}.hosts", "needs at least one entry")
    tls = item.get("tls").only("mode", "credentialName", "httpsRedirect", "minProtocolVersion")
    # Both are what every door has.
    tls.get("minProtocolVersion").choice("TLS_AUTO", "TLSV1_2", default="TLS_AUTO")
    number = port.get("number").integer(low=1, high=65535)
    if protocol in _SECURE:
        return _secure(number, hosts, protocol, tls)
    if tls.get("mode").present or tls.get("credentialName").present:
        raise Invalid(f"{tls.path}", f"has no meaning for protocol {protocol}, but for httpsRedirect")
    redirect = tls.get("httpsRedirect").boolean()
    if protocol == "TCP" and redirect:
        raise Invalid(f"{tls.path}.httpsRedirect", "has no meaning for protocol TCP")
    return Server(number, hosts, redirect=redirect, stream="tcp" if protocol == "TCP" else "")


def _secure(number: int, hosts: tuple[ServerHost, ...], protocol: str, tls: Field) -> Server:
    mode = tls.get("mode").text("PASSTHROUGH")
    if mode == "PASSTHROUGH":
        if tls.get("credentialName").present:
            raise Invalid(f"{tls.path}.credentialName", "has no meaning with mode PASSTHROUGH: TLS is not ended here")
        if tls.get("httpsRedirect").boolean():
            raise Invalid(f"{tls.path}.httpsRedirect", "has no meaning with mode PASSTHROUGH")
        return Server(number, hosts, stream="tls")
    if protocol == "TLS":
        raise Invalid(f"{tls.path}.mode", f"{mode} is not supported by refmesh for protocol TLS; use PASSTHROUGH")
    if mode not in {"SIMPLE", "MUTUAL"}:
        raise Invalid(f"{tls.path}.mode", f"{mode} is not supported by refmesh; use SIMPLE, MUTUAL or PASSTHROUGH")
    credential = tls.get("credentialName").text()
    return Server(number, hosts, credential, tls.get("httpsRedirect").boolean(), mode == "MUTUAL")


def _host(field: Field, meta: Meta) -> ServerHost:
    namespace, slash, name = field.text().lower().rpartition("/")
    if not HOST.fullmatch(name) or (slash and not namespace):
        raise Invalid(field.path, "must be *, a host name whose first label may be *, or namespace/host")
    owner = {".": meta.namespace, "*": ""}.get(namespace, namespace)
    return ServerHost(owner, "" if name == "*" else name)
