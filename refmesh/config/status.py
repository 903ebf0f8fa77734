"""Writes back to objects of Gateway API what became of them: routes attached or not, Gateways open or not.

`wanted_parents` is the pure part for routes, `gateway_status` has that of the others. Entries of other controllers in
the same status are kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refmesh.api.gateway import GROUP, Gateway
from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.http_route import HTTPRoute
from refmesh.api.meta import Rejected
from refmesh.api.stream_route import TCPRoute, TLSRoute
from refmesh.config.conditions import Judgement, condition, merge, now
from refmesh.config.gateway_status import serving_gateways, wanted_class, wanted_gateway
from refmesh.config.ingress import CONTROLLER, Outcome, open_gateway, own_class
from refmesh.config.model import Key, Protocol, Snapshot
from refmesh.config.references import backend_problem
from refmesh.config.status_work import StatusWork, Where
from refmesh.config.store import table_of
from refmesh.kubeclient import Kube

__all__ = ["StatusWriter", "wanted_parents", "wanted_status"]

_RETRY_SECONDS = 2.0
_BY_PARENT = "GRPCRoutes by namespace and parent"
_BY_REFERENCE = "outcomes at a Gateway by reference"


def wanted_status(snapshot: Snapshot, kind: str, key: Key, raw: Mapping[str, Any], now: str) -> dict[str, Any] | None:
    """The status that an object should have; None where it has it, or is not refmesh's to speak about."""
    if kind == "GatewayClass":
        return wanted_class(snapshot, key, raw, now)
    if kind == "Gateway":
        return wanted_gateway(snapshot, key, raw, now)
    parents = wanted_parents(snapshot, kind, key, raw, now)
    return None if parents is None else {"parents": parents}


def wanted_parents(snapshot: Snapshot, kind: str, key: Key, raw: Mapping[str, Any], now: str) -> list[Any] | None:
    """The list that `status.parents` should be; None where it is right already or the route is not ours."""
    generation = int((raw.get("metadata") or {}).get("generation") or 0)
    present = list(((raw.get("status") or {}).get("parents")) or [])
    route: GatewayRoute | None = table_of(snapshot, kind).get(key)
    rejected = snapshot.rejected.get((kind, *key))
    wanted = []
    for reference in _own_parents(snapshot, key, raw):
        if reference.get("kind") == "Service":
            accepted = _at_service(snapshot, reference, key, route, rejected)
        else:
            accepted = _at_gateway(snapshot, reference, key, route, rejected)
        conditions = [accepted, _resolved(snapshot, route)]
        entry = {
            "parentRef": reference,
            "controllerName": CONTROLLER,
            "conditions": [condition(*item, generation, now) for item in conditions],
        }
        wanted.append(_merged(entry, present))
    complete = _in_place(wanted, present)
    return None if complete == present else complete


def _in_place(wanted: list[dict[str, Any]], present: list[Any]) -> list[Any]:
    """The present list with refmesh's entries as wanted, each where it stood, and new ones at its end.

    Moved, they would make a controller that has an order of its own write again, and so on for ever.
    """
    left, found = list(wanted), list[Any]()
    for item in present:
        if item.get("controllerName") != CONTROLLER:
            found.append(item)
        elif (entry := next((one for one in left if one["parentRef"] == item.get("parentRef")), None)) is not None:
            left.remove(entry)
            found.append(entry)
    return found + left


def _judged_generation(snapshot: Snapshot, kind: str, key: Key) -> int | None:
    """Which generation of an object a snapshot has; None where it does not know of it."""
    found = snapshot.rejected.get((kind, *key)) or table_of(snapshot, kind).get(key)
    return int(found.meta.generation) if found is not None else None


def _own_parents(snapshot: Snapshot, key: Key, raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The references to Services, and to Gateways of refmesh's."""
    return [
        item
        for item in (raw.get("spec") or {}).get("parentRefs") or []
        if (item.get("kind") == "Service" and item.get("group") == "") or _own_gateway(snapshot, key, item)
    ]


def _own_gateway(snapshot: Snapshot, key: Key, reference: Mapping[str, Any]) -> Gateway | None:
    if (reference.get("group", GROUP), reference.get("kind", "Gateway")) != (GROUP, "Gateway"):
        return None
    gateway = snapshot.gateways.get((reference.get("namespace") or key[0], reference.get("name") or ""))
    return gateway if gateway is not None and own_class(snapshot, gateway.class_name) else None


def _at_gateway(
    snapshot: Snapshot, reference: Mapping[str, Any], key: Key, route: GatewayRoute | None, rejected: Rejected | None
) -> Judgement:
    if rejected is not None or route is None:
        return ("Accepted", False, "UnsupportedValue", rejected.reason if rejected is not None else "not read")
    gateway = _own_gateway(snapshot, key, reference)
    outcomes = _outcomes(snapshot, gateway) if gateway is not None else {}
    outcome = outcomes.get((route.meta.kind, key, tuple(sorted(reference.items()))))
    if outcome is None:
        return ("Accepted", False, "Pending", "the Gateway has not been looked at yet")
    return ("Accepted", outcome.attached, outcome.reason, outcome.message)


def _outcomes(snapshot: Snapshot, gateway: Gateway) -> Mapping[tuple[str, Key, Any], Outcome]:
    """What became of routes at a Gateway, by kind, key and the reference that the route has to it."""
    known = (_BY_REFERENCE, gateway.meta.namespace, gateway.meta.name)
    if known not in snapshot.derived:
        outcomes = open_gateway(snapshot, gateway).outcomes
        by_reference = {(kind, key, parent.reference): outcome for (kind, key, parent), outcome in outcomes.items()}
        snapshot.derived[known] = by_reference
    found: Mapping[tuple[str, Key, Any], Outcome] = snapshot.derived[known]
    return found


def _at_service(
    snapshot: Snapshot, reference: Mapping[str, Any], key: Key, route: GatewayRoute | None, rejected: Rejected | None
) -> Judgement:
    namespace, name = reference.get("namespace") or key[0], reference.get("name") or ""
    service = snapshot.services.get((namespace, name))
    if rejected is not None:
        return ("Accepted", False, "UnsupportedValue", rejected.reason)
    if isinstance(route, TLSRoute | TCPRoute):
        word = (
            f"refmesh takes a {route.meta.kind} at Gateways only; a VirtualService has tls and tcp routes for Services"
        )
        return ("Accepted", False, "UnsupportedValue", word)
    if service is None:
        return ("Accepted", False, "NoMatchingParent", f"there is no Service {namespace}/{name}")
    if not service.addresses:
        word = "the Service is headless: its clients call single pods, and no route stands between"
        return ("Accepted", False, "NoMatchingParent", word)
    if reference.get("port") and service.port(reference["port"]) is None:
        return ("Accepted", False, "NoMatchingParent", f"the Service has no TCP port {reference['port']}")
    if (port := service.port(reference.get("port"))) is not None and port.protocol is Protocol.TCP:
        word = f"port {port.port} of the Service is said to speak TCP; name it http or grpc, or set its appProtocol"
        return ("Accepted", False, "NoMatchingParent", word)
    if isinstance(route, HTTPRoute) and (rival := _rival(snapshot, key, (namespace, name), reference.get("port"))):
        return ("Accepted", False, "Conflicted", f"{rival} is attached to the same port and decides alone there")
    return ("Accepted", True, "Accepted", "the route is in force")


def _resolved(snapshot: Snapshot, route: GatewayRoute | None) -> Judgement:
    problems = _backend_problems(snapshot, route) if route is not None else []
    if not problems:
        return ("ResolvedRefs", True, "ResolvedRefs", "every backend is known")
    reason, _, message = problems[0].partition(": ")
    return ("ResolvedRefs", False, reason, message)


def _rival(snapshot: Snapshot, key: Key, parent: Key, port: int | None) -> str:
    """The GRPCRoute that leaves an HTTPRoute nothing to decide at its parent; empty where there is none."""
    if _BY_PARENT not in snapshot.derived:
        by_parent: dict[tuple[str, Key], list[tuple[int | None, str]]] = {}
        for other in sorted(snapshot.grpc_routes.values(), key=lambda item: item.meta.age_key):
            for item in other.parents:
                name = f"GRPCRoute {other.meta.namespace}/{other.meta.name}"
                by_parent.setdefault((other.meta.namespace, item.key), []).append((item.port, name))
        snapshot.derived[_BY_PARENT] = by_parent
    # Only routes of one namespace speak about the same clients: the producer's, or one consumer's.
    attached: list[tuple[int | None, str]] = snapshot.derived[_BY_PARENT].get((key[0], parent), [])
    return next((name for at, name in attached if at in {None, port}), "")


def _backend_problems(snapshot: Snapshot, route: GatewayRoute) -> list[str]:
    targets = [
        target
        for rule in route.rules
        for target in (*rule.destinations, *(mirror.destination for mirror in rule.mirrors))
    ]
    return [problem for target in targets if (problem := backend_problem(snapshot, route, target))]


def _merged(entry: dict[str, Any], present: list[Any]) -> dict[str, Any]:
    """The entry for a parent, with what is to be kept of the present one."""
    before: dict[str, Any] = next(
        (
            item
            for item in present
            if item.get("controllerName") == CONTROLLER and item.get("parentRef") == entry["parentRef"]
        ),
        {},
    )
    return entry | {"conditions": merge(entry["conditions"], before)}


class StatusWriter(StatusWork):
    """Judges and writes. `objects`: what there is, by kind and key, a new object after each change of one."""

    def __init__(
        self, kube: Kube, objects: Callable[[], Mapping[Where, Any]], leads: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__("write statuses", kube, objects, leads, retry_seconds=_RETRY_SECONDS, pause_seconds=0.0)

    def offer(self, snapshot: Snapshot) -> None:
        """A new snapshot to speak about."""
        self._offer((*snapshot.without_endpoints, serving_gateways(snapshot)), lambda: partial(_look, snapshot))


def _look(snapshot: Snapshot, where: Where, raw: Any) -> tuple[int, dict[str, Any] | None] | None:
    generation = _judged_generation(snapshot, *where)
    return (generation, wanted_status(snapshot, *where, raw, now())) if generation is not None else None
