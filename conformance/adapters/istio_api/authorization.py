"""Authorization: `AuthorizationPolicy` and `RequestAuthentication`."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.intents import Access, AccessRule, TokenIssuer, UnreadableAccess

from .base import manifest, render

VERSION = "security.istio.io/v1"
TRUST_DOMAIN = "cluster.local"
"""In a policy it stands for the mesh's own trust domain, whatever that is called."""


def _policy(intent: Access | UnreadableAccess, spec: dict[str, Any]) -> Rendered:
    selector = {"selector": {"matchLabels": {"app": intent.workload}}}
    return Rendered(objects=(manifest(VERSION, "AuthorizationPolicy", intent.name, intent.namespace, selector | spec),))


@render.register
def _(intent: Access) -> Rendered | Unsupported:
    rules = [_rule(rule) for rule in intent.rules]
    return _policy(intent, {"action": intent.effect.upper()} | ({"rules": rules} if rules else {}))


@render.register
def _(intent: UnreadableAccess) -> Rendered | Unsupported:
    unknown = {"key": "request.unheard-of", "values": ["anything"]}
    return _policy(intent, {"action": "ALLOW", "rules": [{"when": [unknown]}]})


@render.register
def _(intent: TokenIssuer) -> Rendered | Unsupported:
    rule = {"issuer": intent.issuer, "audiences": [intent.audience], "jwks": intent.jwks}
    spec = {"selector": {"matchLabels": {"app": intent.workload}}, "jwtRules": [rule]}
    return Rendered(objects=(manifest(VERSION, "RequestAuthentication", intent.name, intent.namespace, spec),))


def _rule(rule: AccessRule) -> dict[str, Any]:
    source = {
        "principals": [f"{TRUST_DOMAIN}/ns/{namespace}/sa/{account}" for namespace, account in rule.accounts],
        "namespaces": list(rule.namespaces),
        "requestPrincipals": ["/".join(rule.token)] if rule.token else [],
    }
    operation = {
        "methods": list(rule.methods),
        "paths": list(rule.paths),
        "hosts": list(rule.hosts),
        "ports": [str(port) for port in rule.ports],
    }
    found: dict[str, Any] = {}
    if source := {key: values for key, values in source.items() if values}:
        found["from"] = [{"source": source}]
    if operation := {key: values for key, values in operation.items() if values}:
        found["to"] = [{"operation": operation}]
    if rule.header:
        found["when"] = [{"key": f"request.headers[{rule.header[0]}]", "values": [rule.header[1]]}]
    return found
