"""Authorization: `Server`s that deny, and `AuthorizationPolicy` with the identities that are let in."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import cannot, manifest
from conformance.intents import Access, AccessRule, Effect, TokenIssuer, UnreadableAccess
from fixtures.workloads.manifests import PORTS

from .base import POLICY, LinkerdSettings, render

cannot(render, "requests' tokens are not looked at", TokenIssuer)
cannot(render, "a policy has no conditions that could be unknown", UnreadableAccess)

ANYBODY = {"networks": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]}


@render.register
def _(intent: Access, settings: LinkerdSettings) -> Rendered | Unsupported:
    """Every port of the workload denies; each rule lets its callers in at its ports."""
    if intent.effect is Effect.DENY:
        return Unsupported("there are allowances only: what none allows is refused")
    for rule in intent.rules:
        if rule.methods or rule.paths or rule.hosts or rule.header:
            return Unsupported("what no route of a server matches is not found, rather than refused")
        if rule.token:
            return Unsupported("requests' tokens are not looked at")
    servers = [_server(intent, port) for port in PORTS.values()]
    policies = [one for i, rule in enumerate(intent.rules) for one in _let_in(intent, f"{intent.name}-{i}", rule)]
    return Rendered(objects=(*servers, *policies))


def _server(intent: Access, port: int) -> Manifest:
    spec = {"podSelector": {"matchLabels": {"app": intent.workload}}, "port": port, "accessPolicy": "deny"}
    return manifest(f"{POLICY}/v1beta3", "Server", f"{intent.workload}-{port}", intent.namespace, spec)


def _let_in(intent: Access, name: str, rule: AccessRule) -> Iterator[Manifest]:
    accounts = [{"kind": "ServiceAccount", "name": one, "namespace": space} for space, one in rule.accounts]
    namespaces = [{"kind": "Namespace", "name": one} for one in rule.namespaces]
    callers = accounts or namespaces
    if accounts and namespaces:  # both must hold
        callers = [one for one in accounts if one["namespace"] in rule.namespaces]
        if not callers:  # the rule lets nobody in, and the servers deny what no policy allows
            return
    kind = "MeshTLSAuthentication" if callers else "NetworkAuthentication"
    spec: Manifest = {"identityRefs": callers} if callers else ANYBODY
    yield manifest(f"{POLICY}/v1alpha1", kind, name, intent.namespace, spec)
    for port in rule.ports or PORTS.values():
        target = {"group": POLICY, "kind": "Server", "name": f"{intent.workload}-{port}"}
        needed = [{"group": POLICY, "kind": kind, "name": name}]
        policy = {"targetRef": target, "requiredAuthenticationRefs": needed}
        yield manifest(f"{POLICY}/v1alpha1", "AuthorizationPolicy", f"{name}-{port}", intent.namespace, policy)
