"""What refmesh says of a GatewayClass and of a Gateway, and how it is taken back. Pure: the writer is in `status`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Any

from refmesh.api.gateway import GROUP
from refmesh.api.meta import Rejected
from refmesh.config.conditions import Judgement, condition, conditions_of, entries, merge
from refmesh.config.ingress import CONTROLLER, Door, OpenGateway, open_gateway, own_class, own_gateways
from refmesh.config.model import Key, Snapshot
from refmesh.ingress.names import workload_name

__all__ = ["serving_gateways", "wanted_class", "wanted_gateway", "without_gateway_status"]


_REASONS = {"spec.addresses": "UnsupportedAddress", "spec.infrastructure.parametersRef": "InvalidParameters"}
"""Why a Gateway is not accepted, by the field that refmesh cannot do."""


def wanted_class(snapshot: Snapshot, key: Key, raw: Mapping[str, Any], now: str) -> dict[str, Any] | None:
    """The status that a GatewayClass should have; None where it has it, or is not refmesh's."""
    if not own_class(snapshot, key[1]):
        return None
    if (raw.get("spec") or {}).get("parametersRef"):
        judged = ("Accepted", False, "InvalidParameters", "spec.parametersRef is not supported by refmesh")
    else:
        judged = ("Accepted", True, "Accepted", "refmesh opens the Gateways of this class")
    return _changed(raw, {"conditions": _conditions([judged], raw, now, raw.get("status") or {})})


def wanted_gateway(snapshot: Snapshot, key: Key, raw: Mapping[str, Any], now: str) -> dict[str, Any] | None:
    """The status that a Gateway should have; None where it has it, is not refmesh's, or too little is known yet."""
    spec, present = raw.get("spec") or {}, raw.get("status") or {}
    if not own_class(snapshot, str(spec.get("gatewayClassName"))):
        return None
    rejected, gateway = snapshot.rejected.get(("Gateway", *key)), snapshot.gateways.get(key)
    if gateway is None or rejected is not None:
        judged = _rejected(rejected)
        return _changed(raw, {"conditions": _conditions(judged, raw, now, present), "listeners": [], "addresses": []})
    opened = open_gateway(snapshot, gateway)
    if any(door.pending for door in opened.doors):
        return None  # the Secret is being read; a moment later the whole truth is known
    name = workload_name(gateway)
    service = snapshot.services.get((key[0], name))
    addresses = [_address(item) for item in (service.external if service is not None else ())]
    serving = _serving(snapshot, (key[0], name))
    judged = _judged(opened, bool(addresses), serving)
    listeners = []
    before = {item.get("name"): item for item in present.get("listeners") or []}
    for door in opened.doors:
        programmed = bool(addresses) and serving
        conditions = _conditions(_listener(door, programmed), raw, now, before.get(door.listener.name) or {})
        listeners.append(
            {
                "name": door.listener.name,
                "supportedKinds": [{"group": GROUP, "kind": kind} for kind in door.listener.kinds],
                "attachedRoutes": len(door.routes),
                "conditions": conditions,
            }
        )
    status = {"conditions": _conditions(judged, raw, now, present), "listeners": listeners, "addresses": addresses}
    return _changed(raw, status)


def serving_gateways(snapshot: Snapshot) -> tuple[Key, ...]:
    """Those of refmesh's Gateways that have a ready pod: all of the endpoints that statuses depend on."""
    own = ((gateway.meta.namespace, workload_name(gateway)) for gateway in own_gateways(snapshot))
    return tuple(service for service in own if _serving(snapshot, service))


def without_gateway_status(kind: str, raw: Mapping[str, Any], classes: Collection[str]) -> dict[str, Any] | None:
    """The merge patch that takes back what refmesh said in the `status` of an object of Gateway API, or None.

    `classes` are the names of refmesh's GatewayClasses: nothing in a Gateway's own status says whose it is.
    """
    spec, status = raw.get("spec"), raw.get("status")
    if kind not in {"GatewayClass", "Gateway"}:
        told = entries(status, "parents")
        others = [item for item in told if item.get("controllerName") != CONTROLLER]
        return {"parents": others} if len(others) < len(told) else None
    field, own = ("controllerName", (CONTROLLER,)) if kind == "GatewayClass" else ("gatewayClassName", classes)
    if not isinstance(spec, Mapping) or spec.get(field) not in own:
        return None
    before = conditions_of(status)
    # What Kubernetes writes where nobody has said anything is Unknown.
    left = [
        item for item in before if item["type"] not in {"Accepted", "Programmed"} or item.get("status") == "Unknown"
    ]
    filled = [name for name in ("listeners", "addresses") if kind == "Gateway" and entries(status, name)]
    if len(left) == len(before) and not filled:
        return None
    return {"conditions": left or None, **dict.fromkeys(filled)}


def _changed(raw: Mapping[str, Any], status: dict[str, Any]) -> dict[str, Any] | None:
    present = raw.get("status") or {}
    return None if all((present.get(key) or []) == value for key, value in status.items()) else status


def _conditions(
    judged: list[Judgement], raw: Mapping[str, Any], now: str, before: Mapping[str, Any]
) -> list[dict[str, Any]]:
    generation = int((raw.get("metadata") or {}).get("generation") or 0)
    return merge([condition(*item, generation, now) for item in judged], before)


def _rejected(rejected: Rejected | None) -> list[Judgement]:
    reason = rejected.reason if rejected is not None else "the Gateway cannot be read"
    word = next((word for field, word in _REASONS.items() if reason.startswith(field)), "Invalid")
    return [("Accepted", False, word, reason), ("Programmed", False, "Invalid", "the Gateway is not accepted")]


def _address(text: str) -> dict[str, str]:
    try:
        ip_address(text)
    except ValueError:
        return {"type": "Hostname", "value": text}
    return {"type": "IPAddress", "value": text}


def _serving(snapshot: Snapshot, service: Key) -> bool:
    """Whether a pod of the gateway is ready: its proxy has taken its configuration."""
    slices = snapshot.slices.get(service, {}).values()
    return any(endpoint.ready for piece in slices for endpoint in piece.endpoints)


def _judged(opened: OpenGateway, addressed: bool, serving: bool) -> list[Judgement]:
    usable = [door for door in opened.doors if door.opens]
    if not usable:
        accepted = ("Accepted", False, "ListenersNotValid", "no listener can be opened; see their conditions")
        return [accepted, ("Programmed", False, "Invalid", "no listener can be opened")]
    if len(usable) < len(opened.doors):
        accepted = ("Accepted", True, "ListenersNotValid", "some listeners cannot be opened; see their conditions")
    else:
        accepted = ("Accepted", True, "Accepted", "every listener can be opened")
    if not serving:
        return [accepted, ("Programmed", False, "Pending", "no pod of the gateway is ready yet")]
    if not addressed:
        word = "the cluster has not given the gateway's Service an address yet"
        return [accepted, ("Programmed", False, "AddressNotAssigned", word)]
    return [accepted, ("Programmed", True, "Programmed", "the gateway serves at its address")]


def _listener(door: Door, serving: bool) -> list[Judgement]:
    conflict, refused, unresolved = (_split(text) for text in (door.conflict, door.refused, door.unresolved))
    found: list[Judgement] = []
    if refused:
        found.append(("Accepted", False, *refused))
    elif conflict:
        found.append(("Accepted", False, *conflict))
    else:
        found.append(("Accepted", True, "Accepted", "the listener can be opened"))
    found.append(("Conflicted", True, *conflict) if conflict else ("Conflicted", False, "NoConflicts", "none"))
    if unresolved:
        found.append(("ResolvedRefs", False, *unresolved))
    else:
        found.append(("ResolvedRefs", True, "ResolvedRefs", "every reference is good"))
    if not door.opens:
        found.append(("Programmed", False, "Invalid", "the listener cannot be opened"))
    elif serving:
        found.append(("Programmed", True, "Programmed", "the listener is open"))
    else:
        found.append(("Programmed", False, "Pending", "the gateway does not serve yet"))
    return found


def _split(text: str) -> tuple[str, str] | tuple[()]:
    reason, _, message = text.partition(": ")
    return (reason, message) if text else ()
