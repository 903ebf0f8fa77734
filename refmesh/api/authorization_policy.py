"""AuthorizationPolicy: who may send which request to a workload.

A policy is read whole or not at all. One that cannot be read never widens access: see `AuthorizationPolicy.closed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from refmesh.api.conditions import Attribute, Condition, read_condition, read_group
from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta
from refmesh.api.selection import EVERYTHING, Selection

__all__ = ["Action", "AuthorizationPolicy", "Rule"]

Group = tuple[Condition, ...]
"""Conditions that must all hold."""

_SOURCE = {
    "principals": Attribute.PRINCIPAL,
    "requestPrincipals": Attribute.REQUEST_PRINCIPAL,
    "namespaces": Attribute.NAMESPACE,
    "ipBlocks": Attribute.SOURCE_IP,
    "remoteIpBlocks": Attribute.REMOTE_IP,
}
_OPERATION = {
    "hosts": Attribute.HOST,
    "ports": Attribute.PORT,
    "methods": Attribute.METHOD,
    "paths": Attribute.PATH,
}


class Action(StrEnum):
    """What happens to a request that a policy matches. DENY is asked first; AUDIT only marks the access log."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"


@dataclass(frozen=True, slots=True)
class Rule:
    """Matches where one source, one operation (any where there are none) and all of `when` match."""

    sources: tuple[Group, ...] = ()
    operations: tuple[Group, ...] = ()
    when: Group = ()


@dataclass(frozen=True, slots=True)
class AuthorizationPolicy:
    """One policy. Hashable: pods with equal policies share what is generated from them."""

    meta: Meta
    action: Action = Action.ALLOW
    selection: Selection = EVERYTHING
    rules: tuple[Rule, ...] = ()
    """A request matches the policy if it matches one of them: without any, an ALLOW policy lets nothing in."""
    unreadable: str = ""
    """Why the object could not be read, where this stands in for it."""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> AuthorizationPolicy:  # noqa: ARG003 - one signature for every kind
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "AuthorizationPolicy")
        spec = Field(obj, "").get("spec").only("selector", "targetRef", "targetRefs", "action", "rules")
        action = Action(spec.get("action").choice(*Action, default="ALLOW"))
        rules = tuple(_rule(item) for item in spec.get("rules").each())
        return cls(meta, action, Selection.read(spec), rules)

    @classmethod
    def closed(cls, obj: Any, reason: str, domain: str) -> AuthorizationPolicy:  # noqa: ARG003 - one signature for every kind
        """What is in force in place of an object that cannot be read: as if it matched in the strictest way.

        An ALLOW policy grants nothing, a DENY policy or one with an unknown action denies everything, for the workloads
        it selects; for its whole scope where not even the selector can be read.
        """
        spec = Field(obj, "").get("spec")
        if not isinstance(spec.value, dict):
            spec = Field({}, "spec")
        try:
            action = Action(spec.get("action").choice(*Action, default="ALLOW"))
        except Invalid:
            action = Action.DENY
        rules = (Rule(),) if action is Action.DENY else ()
        return cls(Meta.read(obj, "AuthorizationPolicy"), action, Selection.lenient(spec), rules, reason)


def _rule(item: Field) -> Rule:
    item.only("from", "to", "when")
    sources = tuple(read_group(one.only("source").get("source"), _SOURCE) for one in _some(item.get("from")))
    operations = tuple(read_group(one.only("operation").get("operation"), _OPERATION) for one in _some(item.get("to")))
    return Rule(sources, operations, conditions(item.get("when")))


def conditions(field: Field) -> Group:
    """The conditions of a rule's `when`. Raises `Invalid`."""
    return tuple(read_condition(one) for one in _some(field))


def _some(field: Field) -> list[Field]:
    """The items of a list that is absent or has some: an empty one could be meant either way."""
    found = field.each()
    if field.present and not found:
        raise Invalid(field.path, "must not be an empty list; leave it out to match everything")
    return found
