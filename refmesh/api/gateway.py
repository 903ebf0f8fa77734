"""Gateway and GatewayClass of Gateway API: doors to the mesh, and who opens them.

A listener that cannot be opened carries the reason, so that the others of its Gateway open all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.label_selector import EVERYTHING, LabelSelector
from refmesh.api.meta import Meta

__all__ = [
    "GATEWAY_LABEL",
    "GROUP",
    "CertificateRef",
    "Gateway",
    "GatewayClass",
    "GatewayListener",
    "cut",
    "fits",
]

GROUP = "gateway.networking.k8s.io"
GATEWAY_LABEL = f"{GROUP}/gateway-name"
"""On the pods that are made for a Gateway: its name, as far as a label can carry it."""
_LONGEST = 63
_MOST = 64
"""Listeners of a Gateway, and certificates of a listener, as in the definition of Gateway API."""
_OF_REQUESTS = ("HTTPRoute", "GRPCRoute")
_KINDS = {"HTTP": _OF_REQUESTS, "HTTPS": _OF_REQUESTS, "TLS": ("TLSRoute",), "TCP": ("TCPRoute",)}
"""By protocol of a listener: the kinds of routes that may attach."""


@dataclass(frozen=True)
class GatewayClass:
    """Which controller opens the Gateways of the class."""

    meta: Meta
    controller: str

    @classmethod
    def parse(cls, obj: Any, domain: str) -> GatewayClass:
        """Read the object. Raises `Invalid`."""
        _ = domain
        spec = Field(obj, "").get("spec")
        return cls(Meta.read(obj, "GatewayClass"), spec.get("controllerName").text())


@dataclass(frozen=True)
class CertificateRef:
    """Where a certificate and its key are. `invalid` says why that cannot be right in any cluster."""

    namespace: str
    name: str
    invalid: str = ""


@dataclass(frozen=True)
class GatewayListener:
    """A port that is opened, for one host name or (empty) for all."""

    name: str
    port: int
    protocol: str
    hostname: str = ""
    certificates: tuple[CertificateRef, ...] = ()
    namespaces: str = "Same"
    """Whose routes may attach: those of the Same namespace, of All, or of those that the Selector picks."""
    selector: LabelSelector = EVERYTHING
    kinds: tuple[str, ...] = _OF_REQUESTS
    """Kinds of routes that may attach."""
    other_kinds: tuple[str, ...] = ()
    """Kinds that were asked for and cannot attach."""
    problem: str = ""
    """Why the listener cannot be opened, as `Reason: sentence`; empty for a good one."""


@dataclass(frozen=True)
class Gateway:
    """Ports to open. `labels` and `annotations` are for what is made for the Gateway."""

    meta: Meta
    class_name: str
    listeners: tuple[GatewayListener, ...]
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    uid: str = ""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> Gateway:
        """Read the object. Raises `Invalid`."""
        _ = domain
        meta = Meta.read(obj, "Gateway")
        whole = Field(obj, "")
        spec = whole.get("spec").only("gatewayClassName", "listeners", "addresses", "infrastructure")
        if spec.get("addresses").each():
            raise Invalid("spec.addresses", "is not supported by refmesh: the cluster's load balancer assigns them")
        infrastructure = spec.get("infrastructure").only("labels", "annotations")
        listeners = tuple(_listener(item, meta) for item in spec.get("listeners").each(most=_MOST))
        if not listeners:
            raise Invalid("spec.listeners", "needs at least one entry")
        if len({item.name for item in listeners}) < len(listeners):
            raise Invalid("spec.listeners", "must have names unlike each other")
        return cls(
            meta=meta,
            class_name=spec.get("gatewayClassName").text(),
            listeners=listeners,
            labels=_pairs(infrastructure.get("labels")),
            annotations=_pairs(infrastructure.get("annotations")),
            uid=whole.get("metadata").get("uid").text(""),
        )

    def problem(self) -> str:
        """What is wrong with the first listener that cannot be opened; empty where all can."""
        return next((f"spec.listeners: {item.name} {item.problem}" for item in self.listeners if item.problem), "")


def fits(name: str) -> bool:
    """Whether a label, and the name of a Service, which begins with a letter, can carry this name."""
    return len(name) <= _LONGEST and name[0].isalpha()


def cut(name: str) -> str:
    """How one begins that does not fit; what follows tells it from others that begin so."""
    return f"g-{name[: _LONGEST - 12]}".rstrip("-") + "-"


def _pairs(field: Field) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value.text("")) for key, value in field.entries().items()))


def _listener(item: Field, meta: Meta) -> GatewayListener:
    item.only("name", "hostname", "port", "protocol", "tls", "allowedRoutes")
    allowed = item.get("allowedRoutes").only("namespaces", "kinds")
    namespaces = allowed.get("namespaces").only("from", "selector")
    asked = [_kind(kind) for kind in allowed.get("kinds").each()]
    protocol = item.get("protocol").text()
    kinds = _KINDS.get(protocol, ())
    problem = "" if kinds else f"UnsupportedProtocol: refmesh opens ports for {', '.join(_KINDS)}, not {protocol}"
    certificates: tuple[CertificateRef, ...] = ()
    if kinds:
        certificates, problem = _tls(item.get("tls"), meta, protocol)
    return GatewayListener(
        name=item.get("name").text(),
        port=item.get("port").integer(low=1, high=65535),
        protocol=protocol,
        # Bytes do not say for which host they are.
        hostname="" if protocol == "TCP" else item.get("hostname").text("").lower(),
        certificates=certificates,
        namespaces=namespaces.get("from").choice("Same", "All", "Selector", default="Same"),
        selector=LabelSelector.read(namespaces.get("selector")),
        # What is not opened takes no routes.
        kinds=() if problem else tuple(kind for kind in kinds if not asked or kind in asked),
        other_kinds=tuple(kind for kind in asked if kind not in kinds) if kinds else (),
        problem=problem,
    )


def _kind(item: Field) -> str:
    """A kind of route by its name; one of another group with that group."""
    item.only("group", "kind")
    group, kind = item.get("group").text(GROUP), item.get("kind").text()
    return kind if group == GROUP else f"{group or 'core'}/{kind}"


def _tls(field: Field, meta: Meta, protocol: str) -> tuple[tuple[CertificateRef, ...], str]:
    """The certificates, and what is wrong."""
    if protocol in {"HTTP", "TCP"}:
        return (), f"UnsupportedValue: tls has no meaning for protocol {protocol}" if field.present else ""
    field.only("mode", "certificateRefs", "options")
    mode = field.get("mode").text("Terminate")
    if protocol == "TLS":
        word = f"UnsupportedValue: tls.mode {mode} is not supported by refmesh for protocol TLS; use Passthrough"
        return (), "" if mode == "Passthrough" else word
    if mode != "Terminate":
        return (), f"UnsupportedValue: tls.mode {mode} is not supported by refmesh; use Terminate"
    if field.get("options").entries():
        return (), "UnsupportedValue: tls.options are not supported by refmesh"
    return tuple(_certificate(item, meta) for item in field.get("certificateRefs").each(most=_MOST)), ""


def _certificate(item: Field, meta: Meta) -> CertificateRef:
    item.only("group", "kind", "namespace", "name")
    group, kind = item.get("group").text(""), item.get("kind").text("Secret")
    invalid = "" if (group, kind) == ("", "Secret") else f"{group or 'core'}/{kind} holds no certificate; use a Secret"
    return CertificateRef(item.get("namespace").text(meta.namespace), item.get("name").text(), invalid)
