"""Authorization: `ServiceIntentions`, by service, which is called like the service account of its pods."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import Access, AccessRule, Effect, LenientPaths, TokenIssuer, UnreadableAccess

from .base import ConsulSettings, intentions, render, spoken

ANYBODY = "*"
NOTHING_ELSE: Manifest = {"action": "deny", "http": {"pathPrefix": "/"}}

cannot(render, "whose tokens hold is in a JWTProvider, which this adapter does not write yet", TokenIssuer)
cannot(render, "an intention has no conditions that could be unknown", UnreadableAccess)
cannot(render, "a denial of a path cannot stand beside the allowances of a service's one entry", LenientPaths)


@render.register
def _(intent: Access, settings: ConsulSettings) -> Rendered | Unsupported:
    """An allowance takes the place of the entry that lets everybody in: a service has one entry of intentions."""
    if intent.effect is Effect.DENY:
        return Unsupported("a service has one entry of intentions: a denial cannot stand beside its allowances")
    for rule in intent.rules:
        if rule.namespaces:
            return Unsupported("intentions are between services, and know Kubernetes namespaces in Enterprise only")
        if rule.ports:
            return Unsupported("intentions are for a service, which has one port outside of the Enterprise edition")
        if rule.hosts or rule.token:
            return Unsupported("this adapter writes intentions by caller, path, method and header only")
    callers = dict.fromkeys(who for rule in intent.rules for who in _callers(rule))
    sources = [_source(settings, who, intent.rules) for who in callers if who != ANYBODY]
    # Of several sources the exact one decides alone, and the ACLs' default does where none says anything.
    everybody = _source(settings, ANYBODY, intent.rules) if ANYBODY in callers else {"name": ANYBODY, "action": "deny"}
    entry = intentions(intent.workload, intent.namespace, [*sources, everybody])
    return Rendered(objects=(*spoken(intent.namespace, intent.workload), entry))


def _callers(rule: AccessRule) -> tuple[str, ...]:
    """The services of a rule's callers; with Consul's namespaces `namespace/name`, otherwise all share one."""
    return tuple(f"{space}/{account}" for space, account in rule.accounts) or (ANYBODY,)


def _source(settings: ConsulSettings, who: str, rules: tuple[AccessRule, ...]) -> dict[str, Any]:
    """What a caller may do, by every rule that is about it: all, or what its permissions allow and nothing else."""
    space, _, name = who.rpartition("/")
    found: dict[str, Any] = {"name": name, **({"namespace": space} if space and settings.mirrored else {})}
    permissions: list[Manifest] = []
    for rule in rules:
        if not {who, ANYBODY} & set(_callers(rule)):
            continue
        if not (rule.methods or rule.paths or rule.header):
            return {**found, "action": "allow"}
        permissions += [{"action": "allow", "http": http} for http in _conditions(rule)]
    return {**found, "permissions": [*permissions, NOTHING_ELSE]}


def _conditions(rule: AccessRule) -> list[dict[str, Any]]:
    """One set of conditions for each path of a rule."""
    also: dict[str, Any] = {"methods": list(rule.methods)} if rule.methods else {}
    if rule.header:
        also["header"] = [{"name": rule.header[0], "exact": rule.header[1]}]
    return [{**_path(path), **also} for path in rule.paths or ("/*",)]


def _path(path: str) -> dict[str, str]:
    return {"pathPrefix": path.removesuffix("*")} if path.endswith("*") else {"pathExact": path}
