"""Schemas of the kinds that decide who may do what: AuthorizationPolicy and RequestAuthentication."""

from __future__ import annotations

from refmesh.api.request_authentication import MOST_RULES
from refmesh.install.schemas import BOOLEAN, STRING, Schema, array, mapping

__all__ = ["authorization_policy", "request_authentication", "selection"]

_STRINGS = array(STRING)


def _with_negations(*names: str) -> Schema:
    both = [form for name in names for form in (name, f"not{name[0].upper()}{name[1:]}")]
    return mapping(**dict.fromkeys(both, _STRINGS))


def selection() -> dict[str, Schema]:
    """The fields by which a policy says whom it speaks for."""
    labels = {"type": "object", "additionalProperties": STRING}
    target = mapping(group=STRING, kind=STRING, name=STRING, namespace=STRING)
    return {"selector": mapping(matchLabels=labels), "targetRef": target, "targetRefs": array(target)}


def authorization_policy() -> Schema:
    """The spec of an AuthorizationPolicy."""
    source = _with_negations("principals", "requestPrincipals", "namespaces", "ipBlocks", "remoteIpBlocks")
    operation = _with_negations("hosts", "ports", "methods", "paths")
    condition = mapping(key=STRING, values=_STRINGS, notValues=_STRINGS)
    rule = mapping(
        **{"from": array(mapping(source=source)), "to": array(mapping(operation=operation)), "when": array(condition)}
    )
    return mapping(**selection(), action=STRING, rules=array(rule))


def request_authentication() -> Schema:
    """The spec of a RequestAuthentication."""
    rule = mapping(
        issuer=STRING,
        audiences=_STRINGS,
        jwks=STRING,
        jwksUri=STRING,
        timeout=STRING,
        fromHeaders=array(mapping(name=STRING, prefix=STRING)),
        fromParams=_STRINGS,
        fromCookies=_STRINGS,
        forwardOriginalToken=BOOLEAN,
        outputPayloadToHeader=STRING,
        outputClaimToHeaders=array(mapping(header=STRING, claim=STRING)),
    )
    return mapping(**selection(), jwtRules=array(rule, MOST_RULES))
