"""Schemas of the kinds that decide who may do what: AuthorizationPolicy and RequestAuthentication."""

from __future__ import annotations

from typing import Any

from refmesh.api.request_authentication import MOST_RULES

__all__ = ["authorization_policy", "request_authentication", "selection"]

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_BOOLEAN: Schema = {"type": "boolean"}
_STRINGS: Schema = {"type": "array", "items": _STRING}


def _object(**properties: Schema) -> Schema:
    # What refmesh does not know it refuses by name, which it cannot do if the API server has dropped it.
    return {"type": "object", "properties": properties, "x-kubernetes-preserve-unknown-fields": True}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _with_negations(*names: str) -> Schema:
    both = [form for name in names for form in (name, f"not{name[0].upper()}{name[1:]}")]
    return _object(**dict.fromkeys(both, _STRINGS))


def selection() -> dict[str, Schema]:
    """The fields by which a policy says whom it speaks for."""
    labels = {"type": "object", "additionalProperties": _STRING}
    target = _object(group=_STRING, kind=_STRING, name=_STRING, namespace=_STRING)
    return {"selector": _object(matchLabels=labels), "targetRef": target, "targetRefs": _list(target)}


def authorization_policy() -> Schema:
    """The spec of an AuthorizationPolicy."""
    source = _with_negations("principals", "requestPrincipals", "namespaces", "ipBlocks", "remoteIpBlocks")
    operation = _with_negations("hosts", "ports", "methods", "paths")
    condition = _object(key=_STRING, values=_STRINGS, notValues=_STRINGS)
    rule = _object(
        **{"from": _list(_object(source=source)), "to": _list(_object(operation=operation)), "when": _list(condition)}
    )
    return _object(**selection(), action=_STRING, rules=_list(rule))


def request_authentication() -> Schema:
    """The spec of a RequestAuthentication."""
    rule = _object(
        issuer=_STRING,
        audiences=_STRINGS,
        jwks=_STRING,
        jwksUri=_STRING,
        timeout=_STRING,
        fromHeaders=_list(_object(name=_STRING, prefix=_STRING)),
        fromParams=_STRINGS,
        fromCookies=_STRINGS,
        forwardOriginalToken=_BOOLEAN,
        outputPayloadToHeader=_STRING,
        outputClaimToHeaders=_list(_object(header=_STRING, claim=_STRING)),
    )
    return _object(**selection(), jwtRules={**_list(rule), "maxItems": MOST_RULES})
