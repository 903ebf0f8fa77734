"""Authorization: `AuthorizationPolicy` and `RequestAuthentication`."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Manifest, Rendered, Rival, Unsupported, for_all
from conformance.adapters.words import cannot
from conformance.intents import Access, AccessRule, Effect, LenientPaths, TokenIssuer, UnreadableAccess
from fixtures.kube import ApiProblem, Kube

from .base import manifest, render

VERSION = "security.istio.io/v1"
TRUST_DOMAIN = "cluster.local"
"""In a policy it stands for the mesh's own trust domain, whatever that is called."""
CALLERS = ("principals", "namespaces", "serviceAccounts")
"""By which fields a policy names callers; the last is there since Istio 1.25."""

cannot(render, "slashes are merged and unescaped by its mesh config alone, parameters are part of a name", LenientPaths)


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


def rival(root: str, effect: Effect) -> Rival:
    """A policy of the user's for the whole mesh that may speak of the suite's requests: policies are united.

    What others allow too takes nothing from a denial.
    """

    def undoes(policy: Manifest) -> bool:
        return _speaks(policy) and (effect is Effect.ALLOW or _action(policy) != "ALLOW")

    return Rival(VERSION, "AuthorizationPolicy", root, undoes)


def shut(kube: Kube, root: str) -> str:
    """Which policy of a root namespace lets certain callers only into the whole mesh, "" where none. Reads only."""
    try:
        policies = kube.list(VERSION, "AuthorizationPolicy", root)
    except ApiProblem:  # who may not look is told by requests that are denied
        return ""
    allowing = [one for one in policies if for_all(one) and _action(one) == "ALLOW"]
    if not allowing or any(map(_speaks, allowing)):
        return ""
    return (
        f"AuthorizationPolicy {root}/{allowing[0]['metadata']['name']} lets certain callers alone into the whole mesh, "
        "and so none of the suite's: judge a mesh without it"
    )


def _action(policy: Manifest) -> str:
    return str((policy.get("spec") or {}).get("action", "ALLOW"))


def _speaks(policy: Manifest) -> bool:
    return _action(policy) != "AUDIT" and any(map(_of_anybody, (policy.get("spec") or {}).get("rules") or ()))


def _of_anybody(rule: Manifest) -> bool:
    """Whether a rule is not of certain other callers alone. Names with a wildcard may be anybody's."""
    sources = [one.get("source") or {} for one in rule.get("from") or ()]
    return not sources or any(
        all(any("*" in name for name in one[key]) for key in CALLERS if one.get(key)) for one in sources
    )


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
