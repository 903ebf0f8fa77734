"""Which routes are attached to which listeners of Gateways, and what is wrong with either.

Used to open ports by, for status conditions, and to know which Secrets are needed, so that all three say the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from refmesh.api.gateway import CertificateRef, Gateway, GatewayClass, GatewayListener
from refmesh.api.gateway_route import GatewayRoute, ParentGateway
from refmesh.api.hostnames import intersection
from refmesh.config.classic_servers import classic_gateways, secrets_of
from refmesh.config.model import Key, Snapshot
from refmesh.config.sharing import chosen
from refmesh.ingress.names import usable_port

__all__ = [
    "CONTROLLER",
    "Attached",
    "Door",
    "OpenGateway",
    "Outcome",
    "open_gateway",
    "own_class",
    "own_gateways",
    "wanted_certificates",
    "without_gateways",
]

log = logging.getLogger(__name__)

_MOST_SECRETS = 500
"""Each is asked for again every few seconds."""
_NO_CLASSES: Mapping[Key, GatewayClass] = MappingProxyType({})
_BY_GATEWAY = "routes by gateway"
CONTROLLER = "refmesh.io/mesh-controller"
"""How refmesh calls itself in GatewayClasses and in statuses."""


@dataclass(frozen=True)
class Attached:
    """A route at a listener, with the hosts that both speak of ("": all)."""

    route: GatewayRoute
    hostnames: tuple[str, ...]


@dataclass(frozen=True)
class Door:
    """A listener and all there is to say of it. Texts are `Reason: sentence`, empty where there is nothing wrong."""

    listener: GatewayListener
    conflict: str = ""
    refused: str = ""
    unresolved: str = ""
    certificates: tuple[Key, ...] = ()
    """The Secrets that can be used."""
    pending: bool = False
    """A Secret has not been read yet."""
    routes: tuple[Attached, ...] = ()

    @property
    def opens(self) -> bool:
        """Whether the port can be opened for this listener."""
        usable = not self.conflict and not self.refused
        return usable and (self.listener.protocol != "HTTPS" or bool(self.certificates))


@dataclass(frozen=True)
class Outcome:
    """Whether a route is attached to one of its parents; if not, a reason of Gateway API and a sentence."""

    attached: bool
    reason: str = "Accepted"
    message: str = "the route is in force"
    rank: int = 0
    """How near it came: of several listeners' answers the highest counts."""


@dataclass(frozen=True)
class OpenGateway:
    """A Gateway of refmesh's."""

    gateway: Gateway
    doors: tuple[Door, ...]
    outcomes: Mapping[tuple[str, Key, ParentGateway], Outcome]
    """By the route's kind and key, and its reference to this Gateway."""


_NOWHERE = Outcome(False, "NoMatchingParent", "no listener of the Gateway has this name and port", 0)


def own_gateways(snapshot: Snapshot) -> Iterator[Gateway]:
    """The Gateways whose class is refmesh's."""
    for _, gateway in sorted(snapshot.gateways.items()):
        if own_class(snapshot, gateway.class_name):
            yield gateway


def own_class(snapshot: Snapshot, name: str) -> bool:
    """Whether Gateways of this class are refmesh's."""
    found = snapshot.gateway_classes.get(("", name))
    return found is not None and found.controller == CONTROLLER


def without_gateways(snapshot: Snapshot) -> Snapshot:
    """The snapshot of a mesh that opens no Gateways: no class is its own."""
    return replace(snapshot, gateway_classes=_NO_CLASSES) if snapshot.gateway_classes else snapshot


def open_gateway(snapshot: Snapshot, gateway: Gateway) -> OpenGateway:
    """Attach every route that asks for it."""
    known = ("open gateway", gateway.meta.namespace, gateway.meta.name)
    if known not in snapshot.derived:
        snapshot.derived[known] = _open(snapshot, gateway)
    found: OpenGateway = snapshot.derived[known]
    return found


def _open(snapshot: Snapshot, gateway: Gateway) -> OpenGateway:
    doors = [_door(snapshot, gateway, listener) for listener in gateway.listeners]
    outcomes: dict[tuple[str, Key, ParentGateway], Outcome] = {}
    held: list[list[Attached]] = [[] for _ in doors]
    for route, parent in _routes_of(snapshot, gateway):
        best = _NOWHERE
        for door, found in zip(doors, held, strict=True):
            outcome, names = _attach(snapshot, gateway, door.listener, route, parent, found)
            if outcome.attached and all(item.route is not route for item in found):
                found.append(Attached(route, names))
            best = max(best, outcome, key=lambda item: item.rank)
        outcomes[route.meta.kind, (route.meta.namespace, route.meta.name), parent] = best
    return OpenGateway(
        gateway, tuple(replace(door, routes=tuple(found)) for door, found in zip(doors, held, strict=True)), outcomes
    )


def _routes_of(snapshot: Snapshot, gateway: Gateway) -> list[tuple[GatewayRoute, ParentGateway]]:
    """Every route that names a Gateway as its parent, the oldest first. Routes are sorted once a snapshot."""
    if _BY_GATEWAY not in snapshot.derived:
        routes: list[GatewayRoute] = [*snapshot.grpc_routes.values(), *snapshot.http_routes.values()]
        routes += [*snapshot.tls_routes.values(), *snapshot.tcp_routes.values()]
        by_gateway: dict[Key, list[tuple[GatewayRoute, ParentGateway]]] = {}
        for route in sorted(routes, key=lambda item: (*item.meta.age_key, item.meta.kind)):
            for parent in route.gateways:
                by_gateway.setdefault(parent.key, []).append((route, parent))
        snapshot.derived[_BY_GATEWAY] = by_gateway
    found: dict[Key, list[tuple[GatewayRoute, ParentGateway]]] = snapshot.derived[_BY_GATEWAY]
    return found.get((gateway.meta.namespace, gateway.meta.name), [])


def _attach(
    snapshot: Snapshot,
    gateway: Gateway,
    listener: GatewayListener,
    route: GatewayRoute,
    parent: ParentGateway,
    present: list[Attached],
) -> tuple[Outcome, tuple[str, ...]]:
    """What becomes of a route at one listener, and the hosts that it gets there."""
    if parent.section not in {"", listener.name} or parent.port not in {None, listener.port}:
        return _NOWHERE, ()
    if route.meta.kind not in listener.kinds or not _lets_in(snapshot, gateway, listener, route.meta.namespace):
        word = f"listener {listener.name} takes no {route.meta.kind} of namespace {route.meta.namespace}"
        return Outcome(False, "NotAllowedByListeners", word, 1), ()
    wanted = route.hostnames or ("",)
    common = [found for name in wanted if (found := intersection(listener.hostname, name)) is not None]
    if not common:
        word = f"listener {listener.name} is for {listener.hostname}, which none of the route's hostnames is"
        return Outcome(False, "NoMatchingListenerHostname", word, 2), ()
    for other in present:
        # GRPCRoute.hostnames in the specification: of two kinds for one host the older route's is accepted.
        if other.route.meta.kind != route.meta.kind and any(
            intersection(one, name) is not None for one in other.hostnames for name in common
        ):
            meta = other.route.meta
            word = f"{meta.kind} {meta.namespace}/{meta.name} is older and is for the same host of this listener"
            return Outcome(False, "Conflicted", word, 3), ()
    return Outcome(True, message=_in_force(listener, route, common, present), rank=4), tuple(dict.fromkeys(common))


def _in_force(listener: GatewayListener, route: GatewayRoute, names: list[str], present: list[Attached]) -> str:
    """What a route hears that is attached. The official tests want it accepted and counted where it gets nothing, too.

    Rules of several routes cannot be merged where connections are not looked into. At TCP all have the name "".
    """
    others = [other for other in reversed(present) if other.route is not route]
    taken = {name: other.route.meta for other in others for name in other.hostnames}
    if listener.protocol in {"HTTP", "HTTPS"} or not all(name in taken for name in names):
        return Outcome.message
    older = taken[names[0]]
    return f"{older.kind} {older.namespace}/{older.name} is older and gets the connections of listener {listener.name}"


def _lets_in(snapshot: Snapshot, gateway: Gateway, listener: GatewayListener, namespace: str) -> bool:
    if listener.namespaces == "Selector":
        labels = snapshot.namespaces.get(namespace)
        return labels is not None and listener.selector.matches(labels)
    return listener.namespaces == "All" or namespace == gateway.meta.namespace


# --------------------------------------------------------------------------------------------------------- listeners
def _door(snapshot: Snapshot, gateway: Gateway, listener: GatewayListener) -> Door:
    door = Door(listener, conflict=_conflict(gateway, listener), refused=listener.problem)
    if not usable_port(listener.port):
        door = replace(door, refused=f"PortUnavailable: the proxy needs port {listener.port} itself")
    if listener.other_kinds:
        door = replace(door, unresolved=f"InvalidRouteKinds: {listener.other_kinds[0]} cannot attach to this listener")
    if listener.protocol != "HTTPS" or listener.problem:
        return door
    problems = [(reference, _certificate_problem(snapshot, gateway, reference)) for reference in listener.certificates]
    bad = [problem for _, problem in problems if problem]
    if not problems:
        bad = ["InvalidCertificateRef: tls.certificateRefs names no Secret"]
    return replace(
        door,
        unresolved=door.unresolved or next(iter(bad), ""),
        certificates=tuple((item.namespace, item.name) for item, problem in problems if not problem),
        pending=any(problem.startswith("Pending") for problem in bad),
    )


def _conflict(gateway: Gateway, listener: GatewayListener) -> str:
    beside = [item for item in gateway.listeners if item.port == listener.port]
    if len({item.protocol for item in beside}) > 1:
        return f"ProtocolConflict: port {listener.port} is asked for by listeners of different protocols"
    if Counter(item.hostname for item in beside)[listener.hostname] > 1:
        host = listener.hostname or "every host"
        return f"HostnameConflict: port {listener.port} is asked for by several listeners for {host}"
    return ""


def _permitted(snapshot: Snapshot, gateway: Gateway, reference: CertificateRef) -> bool:
    own = gateway.meta.namespace
    return reference.namespace == own or any(
        grant.allows("Gateway", own, reference.name, "Secret")
        for grant in snapshot.reference_grants.values()
        if grant.meta.namespace == reference.namespace
    )


def _certificate_problem(snapshot: Snapshot, gateway: Gateway, reference: CertificateRef) -> str:
    if reference.invalid:
        return f"InvalidCertificateRef: {reference.invalid}"
    where = f"{reference.namespace}/{reference.name}"
    if not _permitted(snapshot, gateway, reference):
        return f"RefNotPermitted: no ReferenceGrant in {reference.namespace} lets this Gateway use Secret {where}"
    found = snapshot.certificates.get((reference.namespace, reference.name))
    if found is None:
        return f"Pending: Secret {where} has not been read yet"
    return f"InvalidCertificateRef: Secret {where} {found.problem}" if found.problem else ""


def wanted_certificates(snapshot: Snapshot) -> set[Key]:
    """The Secrets that Gateways name and may use, as many of them as are read."""
    # Istio's say a name only: the Secret is beside the workload.
    asked = [
        (gateway.meta, (pod.namespace, name))
        for pod in (snapshot.pods.values() if snapshot.istio_gateways else ())
        for gateway in classic_gateways(snapshot, pod)
        for server in gateway.servers
        for name in secrets_of(server)
    ]
    asked += [
        (gateway.meta, (reference.namespace, reference.name))
        for gateway in own_gateways(snapshot)
        for listener in gateway.listeners
        for reference in listener.certificates
        if not reference.invalid and _permitted(snapshot, gateway, reference)
    ]
    if (count := len({key for _, key in asked})) > _MOST_SECRETS:
        log.warning("%d of %d Secrets of Gateways are read", _MOST_SECRETS, count)
    asked.sort(key=lambda one: one[0].age_key)
    return set(chosen(((meta.namespace, key) for meta, key in asked), snapshot.certificates.keys(), _MOST_SECRETS))
