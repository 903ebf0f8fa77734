"""The validating webhook's answer: objects that could not be put in force are refused where they are written.

It speaks with the parsers that decide what is in force, so that it cannot be of another opinion. Nothing depends on it:
what gets past it while the control plane is away is read again, and closes what it cannot be read for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.gateway import Gateway
from refmesh.api.kinds import KINDS, Kind, parse
from refmesh.api.meta import Rejected
from refmesh.api.service_entry import ServiceEntry
from refmesh.api.virtual_service import VirtualService
from refmesh.config.effects import without_effect, without_effect_at_pods
from refmesh.config.model import Snapshot
from refmesh.config.outside import OutsideHost, hosts_outside
from refmesh.config.references import service_of

__all__ = ["PATH", "kind_of", "notes", "problem", "review"]

PATH = "/validate"
_NOTHING = Snapshot()
_MOST_WARNINGS, _LONGEST_WARNING = 8, 480
"""An API server cuts off what is longer than 4,096 bytes together."""
_LONGEST = 1024
"""Letters of a refusal."""
_BY_NAME: Mapping[tuple[str, str], Kind] = {(kind.group, kind.written or kind.name): kind for kind in KINDS}


def kind_of(obj: Any) -> Kind | None:
    """The kind of an object in any of its versions, None for one that refmesh does not read."""
    if not isinstance(obj, dict):
        return None
    group, slash, _ = str(obj.get("apiVersion") or "").partition("/")
    return _BY_NAME.get((group if slash else "", str(obj.get("kind") or "")))


def problem(kind: Kind, obj: Any, domain: str) -> str:
    """Why an object could not be put in force, as one sentence that names the field; empty for a good one."""
    found = parse(kind, obj, domain)
    if isinstance(found, Gateway):
        return found.problem()
    return found.reason if isinstance(found, Rejected) else ""


def notes(objects: Iterable[Any], others: Snapshot, domain: str) -> list[str]:
    """What of these objects comes to nothing beside each other and the `others`; the objects themselves are good."""
    found = [parse(kind, obj, domain) for obj in objects if (kind := kind_of(obj)) is not None]
    rules = [item for item in found if isinstance(item, DestinationRule)]
    entries = {(item.meta.namespace, item.meta.name): item for item in found if isinstance(item, ServiceEntry)}
    idle = [note for item in found if isinstance(item, VirtualService) for note in item.idle]
    if not rules and not entries:
        return idle
    hosts = tuple(hosts_outside(replace(others, service_entries={**others.service_entries, **entries})))
    named: dict[str, list[OutsideHost]] = {}
    for one in hosts:
        named.setdefault(one.name, []).append(one)

    def meant(rule: DestinationRule) -> Iterable[OutsideHost]:
        """The hosts that may be meant: not all of the cluster's for each rule in it."""
        return hosts if rule.host.startswith("*") else named.get(rule.host, ())

    written = {entry.meta for entry in entries.values()}
    said = idle + [note for rule in rules for note in without_effect(rule, meant(rule))]
    for rule in rules:
        service = others.services.get(service_of(rule.host))
        if service is not None and service.headless and service.host(domain) == rule.host:
            said.extend(without_effect_at_pods(rule))
    for rule in others.destination_rules.values() if written else ():
        # Somebody else's, perhaps: whoever writes the entry must know whose fields these are.
        said.extend(f"{rule.meta.title}: {note}" for note in without_effect(rule, meant(rule), written))
    return list(dict.fromkeys(said))


def review(body: bytes, domain: str, others: Snapshot = _NOTHING) -> dict[str, Any]:
    """Answer one AdmissionReview. `others`: what is in the cluster. Raises ValueError if it is none."""
    try:
        message = json.loads(body)
        request = message["request"]
        uid, obj, operation = request["uid"], request["object"], request.get("operation")
        version = str(message.get("apiVersion") or "admission.k8s.io/v1")
        old = request.get("oldObject")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not an AdmissionReview") from error
    if not isinstance(uid, str) or not isinstance(obj, dict):
        raise ValueError("not an AdmissionReview")  # noqa: TRY004  (a value's fault, not a type's)
    return {
        "apiVersion": version,
        "kind": "AdmissionReview",
        "response": {"uid": uid} | _response(obj, old if operation == "UPDATE" else None, domain, others),
    }


def _response(obj: dict[str, Any], old: Any, domain: str, others: Snapshot) -> dict[str, Any]:
    kind = kind_of(obj)
    unchanged = isinstance(old, dict) and old.get("spec") == obj.get("spec")
    # A change that does not touch the spec, such as the removal of a finalizer, must always be possible.
    if kind is None or unchanged:
        return {"allowed": True}
    found = problem(kind, obj, domain)
    if not found:
        warnings = [_short(f"refmesh: {note}", _LONGEST_WARNING) for note in notes([obj], others, domain)]
        return {"allowed": True, **({"warnings": warnings[:_MOST_WARNINGS]} if warnings else {})}
    return {
        "allowed": False,
        "status": {"code": 422, "reason": "Invalid", "message": _short(f"refmesh: {found}", _LONGEST)},
    }


def _short(text: str, most: int) -> str:
    """A sentence without the middle of what somebody wrote at any length: the field stands first, the fix last."""
    return text if len(text) <= most else f"{text[: most - most // 4 - 3]}...{text[-(most // 4) :]}"
